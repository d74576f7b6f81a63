// Global max pooling: y[n, c] = max over p of x[n, p, c], and the position that takes the gradient (the first on a tie).
// Layout: x [images, positions, channels], channels fastest. Grid: one invocation per (n, c), lanes along c.
// Bytes: 4 N P C read, 8 N C written.
struct Params { images: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> argmax: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.images * params.channels) { return; }
  var at = (i / params.channels) * params.positions * params.channels + i % params.channels;
  var best = f32(x[at]);
  var where_best = 0u;
  for (var p = 1u; p < params.positions; p++) {
    at += params.channels;
    let v = f32(x[at]);
    if (v > best) {
      best = v;
      where_best = p;
    }
  }
  y[i] = best;
  argmax[i] = where_best;
}
