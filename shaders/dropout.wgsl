// Dropout: y[i] = x[i] / (1 - rate) where hash(i, seed, stream) >= rate * 2^32, else 0. The mask is never stored: the
// gradient applies the same map to dy. The hash is pcg3d (Jarzynski and Olano, JCGT 2020).
// Layout: any. Grid: one invocation per element. Bytes: 4 read, 4 written per element.
struct Params { total: u32, stream: u32, threshold: u32, k: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> seed: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

fn pcg3d(key: vec3u) -> u32 {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.z;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v ^= v >> vec3u(16u);
  return v.x + v.y * v.z;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  y[i] = select(0.0, params.k * x[i], pcg3d(vec3u(i, seed[0], params.stream)) >= params.threshold);
}
