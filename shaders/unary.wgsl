// Elementwise functions of one tensor, chosen by OP:
//   leaky_relu    y = x > 0 ? x : k x          (ReLU is k = 0)
//   sigmoid       y = 1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow
//   affine        y = k x + b
//   inverse_norm  y = 1 / max(sqrt(x), k)
// Layout: any, read as vec4. Grid: one invocation per vec4. Bytes: 4 read and 4 written per element.
struct Params { vectors: u32, k: f32, b: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

#if OP == sigmoid
// exp(t) for t <= 0, to about a unit in the last place. WGSL lets its own exp be off by 3 + 2 |t| units, and adapters use that.
// With t = n ln 2 + r, |r| <= ln 2 / 2, exp(t) = 2^n exp(r), whose series is short.
fn exp_negative(t: vec4f) -> vec4f {
  let clamped = max(t, vec4f(-87.0));
  let n = round(clamped * 1.44269504);
  let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;  // ln 2 in two parts: n times the first is exact
  var series = vec4f(1.38888889e-3);
  series = fma(series, r, vec4f(8.33333333e-3));
  series = fma(series, r, vec4f(4.16666667e-2));
  series = fma(series, r, vec4f(1.66666667e-1));
  series = fma(series, r, vec4f(0.5));
  return select(ldexp(1.0 + fma(series, r * r, r), vec4i(n)), vec4f(0.0), t < vec4f(-87.0));
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.vectors) { return; }
  let v = x[i];
#if OP == leaky_relu
  y[i] = select(params.k * v, v, v > vec4f(0.0));
#endif
#if OP == sigmoid
  let e = exp_negative(-abs(v));
  y[i] = select(e, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + e);
#endif
#if OP == affine
  y[i] = params.k * v + params.b;
#endif
#if OP == inverse_norm
  y[i] = 1.0 / max(sqrt(v), vec4f(params.k));
#endif
}
