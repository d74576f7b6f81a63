// Softmax cross entropy from labels: log_sum[r] = log sum over c of exp(x[r, c]); loss[r] = log_sum[r] - x[r, label].
// Row r has the label labels[r % labelCount]; one outside 0..classes-1 gives no loss.
// Layout: x [rows, classes]. Grid: one invocation per row; with SHARE one workgroup, whose lanes share its classes, for adapters that
// have more lanes than there are rows. Bytes: 8 read per element of x. FLOPs: 4 per element.
struct Params { rows: u32, classes: u32, labelCount: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> log_sum: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid

#if SHARE
var<workgroup> shared_values: array<f32, ${SHARE}u>;

@compute @workgroup_size(${SHARE}u)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count);
  let base = min(i, params.rows - 1u) * params.classes;
  var top = x[base];
  for (var c = lane; c < params.classes; c += ${SHARE}u) { top = max(top, x[base + c]); }
  shared_values[lane] = top;
  workgroupBarrier();
  for (var k = 0u; k < ${SHARE}u; k++) { top = max(top, shared_values[k]); }
  workgroupBarrier();
  var sum = 0.0;
  for (var c = lane; c < params.classes; c += ${SHARE}u) { sum += exp(x[base + c] - top); }
  shared_values[lane] = sum;
  workgroupBarrier();
  if (lane > 0u || i >= params.rows) { return; }
  for (var k = 1u; k < ${SHARE}u; k++) { sum += shared_values[k]; }
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.rows) { return; }
  let base = i * params.classes;
  var top = x[base];
  for (var c = 1u; c < params.classes; c++) { top = max(top, x[base + c]); }
  var sum = 0.0;
  for (var c = 0u; c < params.classes; c++) { sum += exp(x[base + c] - top); }
#endif
  log_sum[i] = top + log(sum);
  let label = labels[i % params.labelCount];
  loss[i] = 0.0;
  if (label >= 0 && label < i32(params.classes)) { loss[i] = log(sum) + (top - x[base + u32(label)]); }
}
