// Gradient of a slice: dx[o, j] = dy[o, j - start] for start <= j < start + run, else 0.
// Layout: dy [outer, run], dx [outer, row]; T is f32 or vec4; everything counts elements of T.
// Grid: one invocation per T of dx. Bytes: 4 written per element of dx, 4 read per element of dy.
struct Params { total: u32, row: u32, start: u32, run: u32 }
@group(0) @binding(0) var<storage, read> dy: array<T>;
@group(0) @binding(1) var<storage, read_write> dx: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let j = i % params.row;
  var g = T();
  if (j >= params.start && j < params.start + params.run) {
    g = dy[(i / params.row) * params.run + j - params.start];
  }
  dx[i] = g;
}
