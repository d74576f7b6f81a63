// Batch norm's gradient, first half: per chunk of rows the sums that gamma, beta and x need, for g = dy (masked by y > 0 where
// a ReLU was fused):  partial[0, k, c] = sum g,  partial[1, k, c] = sum g * (x - mean) / sqrt(var + eps).
//   MASK: the ReLU's comes from y, or is made again from x as batch_norm_apply.wgsl made y, of type Y as it is stored; false without.
//   AHEAD: 4 rows are loaded before the first one is looked at.
//   GATHERS: as in batch_norm_stats.wgsl.
// Layout: x, y, dy [rows, channels]; partial [2, chunks, channels]. Grid: x over channels in T (lanes), y over chunks.
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

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = id.x;
  let k = id.y;
  if (c >= params.channels || k >= params.chunks) { return; }
  #if MASK == x
  #include batch_norm_scale
  #else
  let mean = stats[c];
  let inverse = stats[params.channels + c];
  #endif
  var sum = T(0.0);
  var along = T(0.0);
  let end = min((k + 1u) * params.chunk, params.rows);
  var r = k * params.chunk;
  #if AHEAD
  for (; r + 4u <= end; r += 4u) {
    #for I in 4
    let i$I = (r + ${I}u) * params.channels + c;
    let x$I = x[i$I];
    let dy$I = dy[i$I];
    #if MASK == y
    let y$I = y[i$I];
    #endif
    #endfor
    #for I in 4
    #if MASK == x
    {
      let value = T(x$I);
      #include batch_norm_value
      let g = select(T(0.0), T(dy$I), $Y(v + rest) > $Y(0.0));
      sum += g;
      along = fma(g, value - mean, along);
    }
    #else
    #if MASK
    let g$I = select(T(0.0), T(dy$I), T(y$I) > T(0.0));
    #else
    let g$I = T(dy$I);
    #endif
    sum += g$I;
    along = fma(g$I, T(x$I) - mean, along);
    #endif
    #endfor
  }
  #endif
  var touched = 0u;
  for (; r < end; r++) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    let i = (r * params.channels + c) | (touched & params.none);
    #if MASK == x
    let value = T(x[i]);
    #include batch_norm_value
    let g = select(T(0.0), T(dy[i]), $Y(v + rest) > $Y(0.0));
    sum += g;
    along = fma(g, value - mean, along);
    #else
    #if MASK
    let g = select(T(0.0), T(dy[i]), T(y[i]) > T(0.0));
    #else
    let g = T(dy[i]);
    #endif
    sum += g;
    along = fma(g, T(x[i]) - mean, along);
    #endif
  }
  partial[k * params.channels + c] = sum;
  partial[(params.chunks + k) * params.channels + c] = along * inverse;
}
