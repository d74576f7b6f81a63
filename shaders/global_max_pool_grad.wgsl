// Gradient of global max pooling: dx[n, p, c] = dy[n, c] where p is the position kept by the forward pass, else 0.
// Layout: dx [images, positions, channels]; T is f32 or vec4 along channels (U likewise u32 or vec4u), which counts
// elements of T. Grid: one invocation per T of dx. Bytes: 4 N P C written, 8 N C read.
struct Params { size: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> dy: array<T>;
@group(0) @binding(1) var<storage, read> argmax: array<U>;
@group(0) @binding(2) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let pixel = i / params.channels;
  let p = pixel % params.positions;
  let pooled = (pixel / params.positions) * params.channels + i % params.channels;
  dx[i] = $DX(select(T(), dy[pooled], argmax[pooled] == U(p)));
}
