// Gradient of global max pooling: dx[n, p, c] = dy[n, c] where p is the position kept by the forward pass, else 0.
// Layout: dx [images, positions, channels]. Grid: one invocation per element of dx. Bytes: 4 N P C written, 8 N C read.
struct Params { size: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> argmax: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let c = i % params.channels;
  let p = (i / params.channels) % params.positions;
  let pooled = (i / (params.channels * params.positions)) * params.channels + c;
  dx[i] = select(0.0, dy[pooled], argmax[pooled] == p);
}
