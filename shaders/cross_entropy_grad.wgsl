// Gradient of the softmax cross entropy: dx[r, c] = dloss[r] (exp(x[r, c] - log_sum[r]) - [c = label]), 0 in rows whose
// label is outside 0..classes-1.
// Layout: x [rows, classes]. Grid: one invocation per element, lanes along classes. Bytes: 4 read, 4 written per element.
struct Params { total: u32, classes: u32, labelCount: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read> log_sum: array<f32>;
@group(0) @binding(3) var<storage, read> dloss: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let row = i / params.classes;
  let label = labels[row % params.labelCount];
  let probability = exp(x[i] - log_sum[row]);
  let g = dloss[row] * (probability - select(0.0, 1.0, i32(i % params.classes) == label));
  dx[i] = select(0.0, g, label >= 0 && label < i32(params.classes));
}
