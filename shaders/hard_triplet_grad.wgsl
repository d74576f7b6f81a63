// Gradient of the batch-hard triplet loss: dd[i, j] = dloss / divisor * ([j = positive of i] - [j = negative of i]).
// Layout: dd [count, count]. Grid: one invocation per element. Bytes: 4 written per element.
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> dloss: array<f32>;
@group(0) @binding(1) var<storage, read> picks: array<vec2u>;
@group(0) @binding(2) var<storage, read> divisor: array<f32>;
@group(0) @binding(3) var<storage, read_write> dd: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.count * params.count) { return; }
  let picked = vec2u(i % params.count) == picks[i / params.count];
  let sign = select(0.0, 1.0, picked.x) - select(0.0, 1.0, picked.y);
  dd[i] = sign * dloss[0] / divisor[0];
}
