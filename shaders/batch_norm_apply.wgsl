// y = (x - mean) * (gamma / sqrt(var + eps)) + beta, then + residual and ReLU where asked.
//   Made as x * scale + shift, where scale and shift have a rest beyond float32 and x is cut in halves, whose products with an
//   upper half are exact: y is off by one rounding instead of four (by two with a residual). What matters is the side of the
//   ReLU that it falls on.
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

/** Eight rows, from r on, of all that is loaded. */
fn touch_rows(r: u32, end: u32, first: u32) -> u32 {
  var touched = 0u;
  for (var ahead = r; ahead < min(r + 8u, end); ahead++) {
    let lines = lines_of(ahead, first);
    touched |= touch(T(x[lines.x])) | touch(T(x[lines.y]));
    #if RESIDUAL
    touched |= touch(T(residual[lines.x])) | touch(T(residual[lines.y]));
    #endif
  }
  return touched;
}
#endif

// The upper 12 of a number's 24 bits.
fn upper(v: T) -> T { return bitcast<T>(bitcast<U>(v) & U(0xfffff000u)); }

// What rounding took from sum = a + b.
fn lost(sum: T, a: T, b: T) -> T {
  let added = sum - a;
  return (a - (sum - added)) + (b - added);
}

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  // scale and shift, each as what fits a float and what rounding took from it.
  let inverse = stats[params.channels + c];
  let inverse_upper = upper(inverse);
  let gamma_upper = upper(gamma[c]);
  let scale = inverse * gamma[c];
  let scale_rest = (inverse_upper * gamma_upper - scale)
    + (inverse_upper * (gamma[c] - gamma_upper) + (inverse - inverse_upper) * gamma[c]);
  let scale_upper = upper(scale);
  let scale_lower = (scale - scale_upper) + scale_rest;
  let mean = stats[c];
  let mean_upper = upper(mean);
  let centre = -mean_upper * scale_upper;
  let shift = (beta[c] + centre) * params.one;
  let shift_rest = lost(shift, beta[c], centre) - (mean_upper * scale_lower + (mean - mean_upper) * scale);
  let end = min((id.y + 1u) * params.run, params.rows);
  var touched = 0u;
  for (var r = id.y * params.run; r < end; r++) {
    #if GATHERS
    if (r % 8u == 0u) { touched |= touch_rows(r, end, group.x * LX); }
    #endif
    let i = (r * params.channels + c) | (touched & params.none);
    let value = T(x[i]);
    let x_upper = upper(value);
    let product = x_upper * scale_upper;
    var v = (product + shift) * params.one;
    let rest = x_upper * scale_lower + (value - x_upper) * scale + shift_rest + lost(v, product, shift);
    #if RESIDUAL
    v += T(residual[i]);
    #endif
    v += rest;
    if (params.relu != 0u) { v = max(v, T(0.0)); }
    y[i] = $Y(v);
  }
}
