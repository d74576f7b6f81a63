// Batch norm's gradient, second half, for g = dy (masked by y > 0 where a ReLU was fused) and xhat = (x - mean) inverse:
//   training    dx = gamma inverse (g - dbeta / rows - xhat dgamma / rows)
//   evaluation  dx = gamma inverse g
// With a fused ReLU and a residual, g itself is the residual's gradient and is stored too.
// MASK: as in batch_norm_grad_stats.wgsl.
//   ROWS and GATHERS: as in batch_norm_apply.wgsl.
// Layout: x, y, dy, dx [rows, channels]. Grid: x over channels in T (lanes), y over runs of rows. Bytes: 12 to 20 rows channels.
#include elem
struct Params {
  rows: u32, channels: u32, run: u32, inverseRows: f32,  // channels in T, inverseRows 0 in evaluation mode
  #if MASK == x
  one: f32,
  #endif
  none: u32,
}
override LX: u32 = 8;
override LY: u32 = 8;
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> stats: array<T>;
@group(0) @binding(2) var<storage, read> gamma: array<T>;
@group(0) @binding(3) var<storage, read> sums: array<T>;  // [2, channels] = dbeta, dgamma
@group(0) @binding(5) var<storage, read> dy: array<$DY>;
@group(0) @binding(6) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(7) var<uniform> params: Params;
#if MASK == x
@group(0) @binding(8) var<storage, read> beta: array<T>;
#include elem_u32
#include batch_norm_cut
#else
#if MASK
@group(0) @binding(8) var<storage, read> y: array<$Y>;
#endif
#endif
#if RESIDUAL
@group(0) @binding(9) var<storage, read_write> dresidual: array<$DR>;
#endif

#if GATHERS
#include batch_norm_lines
#endif

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  #if MASK == x
  #include batch_norm_scale
  #else
  let mean = stats[c];
  let inverse = stats[params.channels + c];
  let scale = inverse * gamma[c];
  #endif
  let offset = sums[c] * params.inverseRows;
  let slope = sums[params.channels + c] * params.inverseRows * inverse;
  let end = min((id.y + 1u) * params.run, params.rows);
  var touched = 0u;
  for (var r = id.y * params.run; r < end; r += ${ROWS}u) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    #for I in ROWS
    #if ROWS > 1
    let i$I = min(r + ${I}u, end - 1u) * params.channels + c;
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
      let g = select(T(0.0), T(dy$I), $Y(v + rest) > $Y(0.0));
      #else
      #if MASK
      let g = select(T(0.0), T(dy$I), T(y$I) > T(0.0));
      #else
      let g = T(dy$I);
      #endif
      #endif
      dx[i$I] = $DX(scale * (g - offset - (value - mean) * slope));
      #if RESIDUAL
      dresidual[i$I] = $DR(g);
      #endif
    }
    #endfor
  }
}
