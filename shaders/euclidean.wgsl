// Euclidean distances between rows: d[i, j] = sqrt(max(sum over k of (x[i, k] - x[j, k])^2, 1e-12)). Differences are
// squared as they are: |a|^2 + |b|^2 - 2 a b would lose the small distances that mining looks for.
// Layout: x [rows, columns]; T is f32 or vec4 along columns, which counts elements of T. Grid: one invocation per d.
// Bytes: 8 columns read, 4 written per element of d.
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> d: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.rows * params.rows) { return; }
  let a = (i / params.rows) * params.columns;
  let b = (i % params.rows) * params.columns;
  var sum = T();
  for (var k = 0u; k < params.columns; k++) {
    let difference = x[a + k] - x[b + k];
    sum = fma(difference, difference, sum);
  }
#if ELEM == 4
  let total = (sum.x + sum.y) + (sum.z + sum.w);
#else
  let total = sum;
#endif
  d[i] = sqrt(max(total, 1e-12));
}
