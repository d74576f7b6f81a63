// y = (x - mean) * (gamma / sqrt(var + eps)) + beta, then + residual and ReLU where asked.
//   Made as x * scale + shift, where scale and shift have a rest beyond float32 and x is cut in halves, whose products with an
//   upper half are exact: y is off by one rounding instead of four (by two with a residual). What matters is the side of the
//   ReLU that it falls on.
//   ROWS: as many are loaded before the first one is looked at. GPUs take four, as no load would overtake a store.
//   GATHERS: as in batch_norm_stats.wgsl.
// Layout: x, residual, y [rows, channels]; stats [2, channels] = mean, 1 / sqrt(var + eps).
// Grid: x over channels in T (lanes), y over runs of rows. Bytes: 8 rows channels (12 with a residual).
#include elem
#include elem_u32
struct Params { rows: u32, channels: u32, run: u32, relu: u32, one: f32, none: u32 }  // channels in T; one: see compensated.wgsl
override LX: u32 = 8;
override LY: u32 = 8;
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> stats: array<T>;
@group(0) @binding(2) var<storage, read> gamma: array<T>;
@group(0) @binding(3) var<storage, read> beta: array<T>;
@group(0) @binding(4) var<storage, read_write> y: array<$Y>;
@group(0) @binding(5) var<uniform> params: Params;
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<$R>;
#endif

#if GATHERS
#include batch_norm_lines
#endif

#include batch_norm_cut

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  #include batch_norm_scale
  let end = min((id.y + 1u) * params.run, params.rows);
  var touched = 0u;
  for (var r = id.y * params.run; r < end; r += ${ROWS}u) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    #for I in ROWS
    #if ROWS > 1
    // Behind the end the last row is made once more.
    let i$I = min(r + ${I}u, end - 1u) * params.channels + c;
    #else
    let i$I = (r * params.channels + c) | (touched & params.none);
    #endif
    let x$I = x[i$I];
    #if RESIDUAL
    let residual$I = residual[i$I];
    #endif
    #endfor
    #for I in ROWS
    {
      let value = T(x$I);
      #include batch_norm_value
      #if RESIDUAL
      v += T(residual$I);
      #endif
      v += rest;
      if (params.relu != 0u) { v = max(v, T(0.0)); }
      y[i$I] = $Y(v);
    }
    #endfor
  }
}
