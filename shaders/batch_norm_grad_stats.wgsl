// Batch norm's gradient, first half: per chunk of rows the sums that gamma, beta and x need, for g = dy (masked by y > 0 where
// a ReLU was fused):  partial[0, k, c] = sum g,  partial[1, k, c] = sum g * (x - mean) / sqrt(var + eps).
//   MASK: the ReLU's comes from y, or is made again from x as batch_norm_apply.wgsl made y, of type Y as it is stored; false without.
//   SHARED: a workgroup's invocations share a chunk, whose rows they take in turn, so that together they read what lies side by side, and add
//   what they have as a tree. ROWS: each loads as many before it looks at the first.
//   COLUMNS: batch_norm_columns.wgsl. GATHERS: as in batch_norm_stats.wgsl.
// Layout: x, y, dy [rows, channels]; partial [2, chunks, channels]. Grid: x over channels as they are bound (lanes), y over chunks
// (SHARED: one a workgroup).
// Bytes: 8 rows channels (12 where y is read).
#include elem
#include batch_norm_columns
struct Params {
  rows: u32, channels: u32, chunk: u32, chunks: u32,
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
#for P in COLUMNS
var<workgroup> sums$P: array<T, LX * LY>;
var<workgroup> alongs$P: array<T, LX * LY>;
#endfor
#endif

@compute @workgroup_size(LX, LY)
fn main(
  @builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u,
) {
  #if SHARED
  // Nobody returns before the last barrier.
  let column = min(id.x, params.channels - 1u);
  let k = group.y;
  let start = lane.y;
  let step = LY;
  #else
  let column = id.x;
  let k = id.y;
  let start = 0u;
  let step = 1u;
  if (column >= params.channels || k >= params.chunks) { return; }
  #endif
  let width = params.channels * ${COLUMNS}u;
  #for P in COLUMNS
  let c$P = column * ${COLUMNS}u + ${P}u;
  #if MASK == x
  #include batch_norm_scale
  #else
  let mean$P = stats[c$P];
  let inverse$P = stats[width + c$P];
  #endif
  var sum$P = T(0.0);
  var along$P = T(0.0);
  #endfor
  let end = min((k + 1u) * params.chunk, params.rows);
  var touched = 0u;
  for (var r = k * params.chunk + start; r < end; r += ${ROWS}u * step) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    #for I in ROWS
    #if ROWS > 1
    let row$I = r + ${I}u * step;
    let i$I = min(row$I, end - 1u) * params.channels + column;
    #else
    let i$I = (r * params.channels + column) | (touched & params.none);
    #endif
    let x$I = x[i$I];
    let dy$I = dy[i$I];
    #if MASK == y
    let y$I = y[i$I];
    #endif
    #endfor
    #for I in ROWS
    {
      #for P in COLUMNS
      let value$P = column$P(x$I);
      #if MASK == x
      #include batch_norm_value
      var g$P = select(T(0.0), column$P(dy$I), $Y(v$P + rest$P) > $Y(0.0));
      #else
      #if MASK
      var g$P = select(T(0.0), column$P(dy$I), column$P(y$I) > T(0.0));
      #else
      var g$P = column$P(dy$I);
      #endif
      #endif
      #if ROWS > 1
      g$P = select(T(0.0), g$P, row$I < end);
      #endif
      sum$P += g$P;
      along$P = fma(g$P, value$P - mean$P, along$P);
      #endfor
    }
    #endfor
  }
  #if SHARED
  let own = lane.y * LX + lane.x;
  #for P in COLUMNS
  sums$P[own] = sum$P;
  alongs$P[own] = along$P;
  #endfor
  workgroupBarrier();
  for (var apart = LY / 2u; apart > 0u; apart /= 2u) {
    if (lane.y < apart) {
      #for P in COLUMNS
      sums$P[own] += sums$P[own + apart * LX];
      alongs$P[own] += alongs$P[own + apart * LX];
      #endfor
    }
    workgroupBarrier();
  }
  if (lane.y > 0u || id.x >= params.channels) { return; }
  #for P in COLUMNS
  sum$P = sums$P[own];
  along$P = alongs$P[own];
  #endfor
  #endif
  #for P in COLUMNS
  partial[k * width + c$P] = sum$P;
  partial[(params.chunks + k) * width + c$P] = along$P * inverse$P;
  #endfor
}
