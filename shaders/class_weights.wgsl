// weights[i] = 1 / (rows of i's class * number of classes), from class_counts.wgsl: a sum over rows with these weights is
// a mean over classes. Grid: one invocation per row.
struct Params { rows: u32 }
@group(0) @binding(0) var<storage, read> counts: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.rows) { return; }
  var classes = 0.0;
  for (var j = 0u; j < params.rows; j++) { classes += counts[j].y; }
  weights[i] = 1.0 / (counts[i].x * classes);
}
