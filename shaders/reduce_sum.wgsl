// Sums along an axis: y[o, s, j] = k * (sum over r = s, s + splits, ... < count of x[o, r, j]), in that order.
// With splits > 1 the partial sums are summed by a second dispatch; interleaved parts keep lanes on neighbouring memory.
// Layout: x [outer, count, inner], y [outer, splits, inner]; T is f32 or vec4 along inner, which counts elements of T.
//   SHARED: LY invocations of a workgroup share the terms of each of its LX sums and add theirs up as a tree; each has loaded four before it
//   looks at the first. On a GPU one alone would wait for every term.
// Grid: one invocation per T of y (SHARED: LX a workgroup). Bytes: 4 read per element of x. FLOPs: 1 per element of x.
struct Params { total: u32, count: u32, inner: u32, splits: u32, k: f32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

#if SHARED
override LX: u32 = 16;
override LY: u32 = 16;  // a power of two
var<workgroup> sums: array<T, LX * LY>;

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let group = workgroup_number(id, count);
  let across = (params.inner + LX - 1u) / LX;
  let j = group % across * LX + lane.x;
  let part = group / across;
  let inside = j < params.inner && part * params.inner < params.total;
  let at = part / params.splits * params.count * params.inner + j;
  let step = LY * params.splits;
  let last = params.count - 1u;
  var sum = T();
  if (inside) {
    for (var r = part % params.splits * LY + lane.y; r <= last; r += 4u * step) {
      #for I in 4
      let r$I = r + ${I}u * step;
      let x$I = x[at + min(r$I, last) * params.inner];
      #endfor
      #for I in 4
      sum += select(T(), T(x$I), r$I <= last);
      #endfor
    }
  }
  let own = lane.y * LX + lane.x;
  sums[own] = sum;
  workgroupBarrier();
  for (var apart = LY / 2u; apart > 0u; apart /= 2u) {
    if (lane.y < apart) { sums[own] += sums[own + apart * LX]; }
    workgroupBarrier();
  }
  if (inside && lane.y == 0u) { y[part * params.inner + j] = params.k * sums[own]; }
}
#else
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
#endif
