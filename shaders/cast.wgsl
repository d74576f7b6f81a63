// y = x in another width: between maps stored in halves and kernels that read float32 (graph/storage.ts).
// Layout: any, in vec4 of X and of Y. Grid: one invocation per vec4. Bytes: 2 or 4 read and 4 or 2 written per element.
struct Params { vectors: u32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<$Y>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.vectors) { return; }
  y[i] = $Y(x[i]);
}
