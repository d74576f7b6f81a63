// Gradient of euclidean.wgsl: dx[i, k] = sum over j, in order, of (dd[i, j] + dd[j, i]) (x[i, k] - x[j, k]) / d[i, j], and no
// contribution where the least distance was taken.
// Layout: as there. Grid: one invocation per T of dx. Bytes: 4 written per element; x, d and dd are read from caches.
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read> d: array<f32>;
@group(0) @binding(2) var<storage, read> dd: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<T>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let at = workgroup_number(id, count) * 64u + lane;
  if (at >= params.rows * params.columns) { return; }
  let i = at / params.columns;
  let k = at % params.columns;
  let own = x[at];
  var sum = T();
  for (var j = 0u; j < params.rows; j++) {
    let g = dd[i * params.rows + j] + dd[j * params.rows + i];
    let distance = d[i * params.rows + j];
    // The square root may be off by an ulp or two, so that 1e-6 is not an exact test of "least".
    if (g != 0.0 && distance > 1.00001e-6) { sum += (g / distance) * (own - x[j * params.columns + k]); }
  }
  dx[at] = sum;
}
