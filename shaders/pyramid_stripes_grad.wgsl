// Gradient of pyramid_stripes.wgsl: dx[s, p, c] = daverage[s, c] / positions + dhighest[s, c] where p is the kept position.
// Layout: as there. Grid: one invocation per T of dx. Bytes: 4 S P C written, 12 S C read.
struct Params { total: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> daverage: array<T>;
@group(0) @binding(1) var<storage, read> dhighest: array<T>;
@group(0) @binding(2) var<storage, read> argmax: array<U>;
@group(0) @binding(3) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let pixel = i / params.channels;
  let p = pixel % params.positions;
  let pooled = (pixel / params.positions) * params.channels + i % params.channels;
  dx[i] = $DX(daverage[pooled] / f32(params.positions) + select(T(), dhighest[pooled], argmax[pooled] == U(p)));
}
