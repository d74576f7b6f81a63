// counts[i] = (rows with the label of row i, 1 if row i is the first of them else 0). Grid: one invocation per row.
struct Params { rows: u32 }
@group(0) @binding(0) var<storage, read> labels: array<i32>;
@group(0) @binding(1) var<storage, read_write> counts: array<vec2f>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.rows) { return; }
  var members = 0.0;
  var earlier = 0.0;
  for (var j = 0u; j < params.rows; j++) {
    let same = select(0.0, 1.0, labels[j] == labels[i]);
    members += same;
    earlier += select(0.0, same, j < i);
  }
  counts[i] = vec2f(members, select(0.0, 1.0, earlier == 0.0));
}
