// y[i, d] = mean of x[j, d] over the rows j, in order, that have the label of row i. This map is symmetric: it is its own
// gradient.
// Layout: x, y [rows, dim]; T is f32 or vec4 along dim, which counts elements of T. Grid: one invocation per T of y.
// Bytes: 4 written per element, 4 times the class size read (from cache). FLOPs: the class size per element.
struct Params { rows: u32, dim: u32 }
@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.rows * params.dim) { return; }
  let label = labels[i / params.dim];
  let d = i % params.dim;
  var sum = T();
  var members = 0.0;
  for (var j = 0u; j < params.rows; j++) {
    if (labels[j] == label) {
      sum += x[j * params.dim + d];
      members += 1.0;
    }
  }
  y[i] = sum / members;
}
