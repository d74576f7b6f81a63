// Repeats along an axis: y[o, r, j] = k x[o, j] for r < count; the gradient of a sum.
// Layout: x [outer, inner], y [outer, count, inner]; T is f32 or vec4 along inner (X = T), or, where inner is 1, along
// count (X = f32). run = count * inner and inner are in units of T (inner 1 stays 1). Grid: one invocation per T of y.
// Bytes: 4 written per element.
struct Params { total: u32, run: u32, inner: u32, k: f32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  y[i] = T(params.k * x[(i / params.run) * params.inner + i % params.inner]);
}
