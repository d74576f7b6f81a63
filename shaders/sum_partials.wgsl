// y[i] = sum over s of partial[s, i], in the order of s. Sizes in vec4; the tail of the last one is padding.
// AHEAD: 8 are loaded before the first one is looked at, as a GPU would wait for each by itself.
// SHARE: the parts of s are dealt out to as many lanes, whose sums are added in their order; for few vec4 on adapters of many lanes.
// Grid: one invocation per vec4; with SHARE one workgroup per 16. Bytes: 16 (splits + 1) size.
struct Params { size: u32, splits: u32 }
@group(0) @binding(0) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

#if SHARE
const COLUMNS = 16u;
var<workgroup> shared_sums: array<vec4<f32>, COLUMNS * ${SHARE}u>;

@compute @workgroup_size(COLUMNS * ${SHARE}u)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * COLUMNS + lane % COLUMNS;
  let first = lane / COLUMNS;
  var sum = vec4<f32>();
  if (i < params.size) {
    for (var s = first; s < params.splits; s += ${SHARE}u) { sum += partial[s * params.size + i]; }
  }
  shared_sums[lane] = sum;
  workgroupBarrier();
  if (first > 0u || i >= params.size) { return; }
  for (var k = 1u; k < ${SHARE}u; k++) { sum += shared_sums[k * COLUMNS + lane]; }
  y[i] = sum;
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  var sum = partial[i];
  var s = 1u;
  #if AHEAD
  for (; s + 8u <= params.splits; s += 8u) {
    #for I in 8
    let part$I = partial[(s + ${I}u) * params.size + i];
    #endfor
    #for I in 8
    sum += part$I;
    #endfor
  }
  #endif
  for (; s < params.splits; s++) { sum += partial[s * params.size + i]; }
  y[i] = sum;
}
#endif
