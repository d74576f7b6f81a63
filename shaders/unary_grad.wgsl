// Gradients of unary.wgsl's functions, from the output y (so that x need not be kept), chosen by OP:
//   leaky_relu    dx = y > 0 ? dy : k dy
//   sigmoid       dx = dy y (1 - y)
//   inverse_norm  dx = -dy y^3 / 2, and 0 where k took the place of sqrt(x)
// Layout: any, read as vec4. Grid: one invocation per vec4. Bytes: 8 read and 4 written per element.
struct Params { vectors: u32, k: f32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.vectors) { return; }
  let g = dy[i];
  let v = y[i];
#if OP == leaky_relu
  dx[i] = select(params.k * g, g, v > vec4f(0.0));
#endif
#if OP == sigmoid
  dx[i] = g * v * (1.0 - v);
#endif
#if OP == inverse_norm
  // Division may be off by an ulp or two, so that y = 1 / k is not an exact test of "clamped".
  dx[i] = select(-0.5 * g * v * v * v, vec4f(0.0), params.k * v > vec4f(0.99999));
#endif
}
