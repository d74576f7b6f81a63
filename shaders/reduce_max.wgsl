// Maximum along an axis and where it is: y[o, s, j] = max over r = s, s + splits, ... < count of x[o, r, j]; argmax is
// the smallest r that has it. With splits > 1 a second dispatch (INDEXED) goes on from the parts and their argmax.
// Layout: x and index [outer, count, inner], y and argmax [outer, splits, inner]. Grid: one invocation per element of y,
// lanes along inner. Bytes: 4 (INDEXED: 8) read per element of x.
struct Params { total: u32, count: u32, inner: u32, splits: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> argmax: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;
#if INDEXED
@group(0) @binding(4) var<storage, read> index: array<u32>;
#endif
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let j = i % params.inner;
  let s = (i / params.inner) % params.splits;
  let o = i / (params.inner * params.splits);
  var at = (o * params.count + s) * params.inner + j;
  var best = x[at];
#if INDEXED
  var where_best = index[at];
#else
  var where_best = s;
#endif
  for (var r = s + params.splits; r < params.count; r += params.splits) {
    at += params.splits * params.inner;
    let v = x[at];
#if INDEXED
    let from_r = index[at];
    if (v > best || (v == best && from_r < where_best)) {
#else
    let from_r = r;
    if (v > best) {
#endif
      best = v;
      where_best = from_r;
    }
  }
  y[i] = best;
  argmax[i] = where_best;
}
