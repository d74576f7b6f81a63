// Batch norm's gradient, first half: per chunk of rows the sums that gamma, beta and x need, for g = dy (masked by y > 0 where
// a ReLU was fused):  partial[0, k, c] = sum g,  partial[1, k, c] = sum g * (x - mean) / sqrt(var + eps).
//   MASK: the ReLU's comes from y, or is made again from x as batch_norm_apply.wgsl made y, of type Y as it is stored; false without.
//   SHARED: a workgroup's invocations share a chunk, whose rows they take in turn, so that together they read what lies side by side, and add
//   what they have as a tree. ROWS: each loads as many before it looks at the first.
//   GATHERS: as in batch_norm_stats.wgsl.
// Layout: x, y, dy [rows, channels]; partial [2, chunks, channels]. Grid: x over channels in T (lanes), y over chunks
// (SHARED: one a workgroup).
// Bytes: 8 rows channels (12 where y is read).
#include elem
struct Params {
  rows: u32, channels: u32, chunk: u32, chunks: u32,  // channels in T
  #if MASK == x
  one: f32,
  #endif
  none: u32,
}
override LX: u32 = 8;
override LY: u32 = 8;
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> stats: array<T>;
@group(0) @binding(2) var<storage, read> dy: array<$DY>;
@group(0) @binding(3) var<storage, read_write> partial: array<T>;
@group(0) @binding(4) var<uniform> params: Params;
#if MASK == x
@group(0) @binding(5) var<storage, read> gamma: array<T>;
@group(0) @binding(6) var<storage, read> beta: array<T>;
#include elem_u32
#include batch_norm_cut
#else
#if MASK
@group(0) @binding(5) var<storage, read> y: array<$Y>;
#endif
#endif

#if GATHERS
#include batch_norm_lines
#endif

#if SHARED
var<workgroup> sums: array<T, LX * LY>;
var<workgroup> alongs: array<T, LX * LY>;
#endif

@compute @workgroup_size(LX, LY)
fn main(
  @builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u,
) {
  #if SHARED
  // Nobody returns before the last barrier.
  let c = min(id.x, params.channels - 1u);
  let k = group.y;
  let start = lane.y;
  let step = LY;
  #else
  let c = id.x;
  let k = id.y;
  let start = 0u;
  let step = 1u;
  if (c >= params.channels || k >= params.chunks) { return; }
  #endif
  #if MASK == x
  #include batch_norm_scale
  #else
  let mean = stats[c];
  let inverse = stats[params.channels + c];
  #endif
  var sum = T(0.0);
  var along = T(0.0);
  let end = min((k + 1u) * params.chunk, params.rows);
  var touched = 0u;
  for (var r = k * params.chunk + start; r < end; r += ${ROWS}u * step) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    #for I in ROWS
    #if ROWS > 1
    let row$I = r + ${I}u * step;
    let i$I = min(row$I, end - 1u) * params.channels + c;
    #else
    let i$I = (r * params.channels + c) | (touched & params.none);
    #endif
    let x$I = x[i$I];
    let dy$I = dy[i$I];
    #if MASK == y
    let y$I = y[i$I];
    #endif
    #endfor
    #for I in ROWS
    {
      let value = T(x$I);
      #if MASK == x
      #include batch_norm_value
      var g = select(T(0.0), T(dy$I), $Y(v + rest) > $Y(0.0));
      #else
      #if MASK
      var g = select(T(0.0), T(dy$I), T(y$I) > T(0.0));
      #else
      var g = T(dy$I);
      #endif
      #endif
      #if ROWS > 1
      g = select(T(0.0), g, row$I < end);
      #endif
      sum += g;
      along = fma(g, value - mean, along);
    }
    #endfor
  }
  #if SHARED
  let own = lane.y * LX + lane.x;
  sums[own] = sum;
  alongs[own] = along;
  workgroupBarrier();
  for (var apart = LY / 2u; apart > 0u; apart /= 2u) {
    if (lane.y < apart) {
      sums[own] += sums[own + apart * LX];
      alongs[own] += alongs[own + apart * LX];
    }
    workgroupBarrier();
  }
  if (lane.y > 0u || id.x >= params.channels) { return; }
  sum = sums[own];
  along = alongs[own];
  #endif
  partial[k * params.channels + c] = sum;
  partial[(params.chunks + k) * params.channels + c] = along * inverse;
}
