// Batch-hard mining (eq. 3): per anchor i the farthest positive p (same label, not i) and the nearest negative n, the
// first on a tie; hinge[i] = max(d[i, p] - d[i, n] + margin, 0). Anchors without either, and those that keep the margin,
// have hinge 0 and picks (i, i), which cancel in the gradient.
// Layout: d [count, count], picks (p, n) per anchor. Grid: one invocation per anchor. Bytes: 4 per element of d.
struct Params { count: u32, margin: f32 }
@group(0) @binding(0) var<storage, read> d: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> hinge: array<f32>;
@group(0) @binding(3) var<storage, read_write> picks: array<vec2u>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.count) { return; }
  let label = labels[i];
  var positive = i;
  var negative = i;
  var far = 0.0;
  var near = 0.0;
  for (var j = 0u; j < params.count; j++) {
    let v = d[i * params.count + j];
    if (labels[j] != label) {
      if (negative == i || v < near) {
        near = v;
        negative = j;
      }
    } else if (j != i && (positive == i || v > far)) {
      far = v;
      positive = j;
    }
  }
  let excess = far - near + params.margin;
  let violated = positive != i && negative != i && excess > 0.0;
  hinge[i] = select(0.0, excess, violated);
  picks[i] = select(vec2u(i), vec2u(positive, negative), violated);
}
