// SGD with momentum, weight decay and Nesterov over flat buffers, one dispatch for the whole model where it can be bound:
//   v <- momentum v + (g + decay w);  w <- w - rate v   (Nesterov: w <- w - rate ((g + decay w) + momentum v))
// hyper = rate, momentum, decay, nesterov (0 or 1): fed, so that the schedule costs nothing; `factor` multiplies the rate.
// GATED: gradients are multiplied by gate; where it is 0 nothing changes (loss_scale.wgsl).
// Grid: one invocation per vec4. Bytes: 20 per parameter.
struct Params { size: u32, factor: f32 }  // size in vec4
@group(0) @binding(0) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> momenta: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> hyper: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#if GATED
@group(0) @binding(5) var<storage, read> gate: array<f32>;
#endif
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  #if GATED
  if (gate[0] == 0.0) { return; }
  let grad = gate[0] * grads[i];
  #else
  let grad = grads[i];
  #endif
  let g = fma(vec4<f32>(hyper[2]), weights[i], grad);
  let v = fma(vec4<f32>(hyper[1]), momenta[i], g);
  momenta[i] = v;
  weights[i] -= params.factor * hyper[0] * select(v, fma(vec4<f32>(hyper[1]), v, g), hyper[3] != 0.0);
}
