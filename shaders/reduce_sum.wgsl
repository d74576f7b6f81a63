// Sums along an axis: y[o, s, j] = k * (sum over r = s, s + splits, ... < count of x[o, r, j]), in that order.
// With splits > 1 the partial sums are summed by a second dispatch; interleaved parts keep lanes on neighbouring memory.
// Layout: x [outer, count, inner], y [outer, splits, inner]; T is f32 or vec4 along inner, which counts elements of T.
// Grid: one invocation per T of y. Bytes: 4 read per element of x. FLOPs: 1 per element of x.
struct Params { total: u32, count: u32, inner: u32, splits: u32, k: f32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let j = i % params.inner;
  let s = (i / params.inner) % params.splits;
  let o = i / (params.inner * params.splits);
  var at = (o * params.count + s) * params.inner + j;
  var sum = T();
  for (var r = s; r < params.count; r += params.splits) {
    sum += T(x[at]);
    at += params.splits * params.inner;
  }
  y[i] = params.k * sum;
}
