// Stripes of a map, pooled in both ways: average[s, c] = sum over p of x[s, p, c] / positions, highest[s, c] = max over p
// of x[s, p, c], and the position that takes its gradient (the first on a tie).
// Layout: x [stripes of all images, positions, channels]; T is f32 or vec4 along channels (U likewise u32 or vec4u), which
// counts elements of T. Grid: one invocation per (s, c), lanes along c. Bytes: 4 S P C read, 12 S C written.
struct Params { total: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> average: array<T>;
@group(0) @binding(2) var<storage, read_write> highest: array<T>;
@group(0) @binding(3) var<storage, read_write> argmax: array<U>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  var at = (i / params.channels) * params.positions * params.channels + i % params.channels;
  var sum = T(x[at]);
  var best = sum;
  var where_best = U();
  for (var p = 1u; p < params.positions; p++) {
    at += params.channels;
    let v = T(x[at]);
    sum += v;
    where_best = select(where_best, U(p), v > best);
    best = max(best, v);
  }
  average[i] = sum / f32(params.positions);
  highest[i] = best;
  argmax[i] = where_best;
}
