// Runs of adjacent stripes: y[n, r, c] = mean over the run's s of average[n, s, c] + max over them of highest[n, s, c].
// Runs are ordered by length, then by their first stripe: r = 0 .. stripes (stripes + 1) / 2 - 1.
// Layout: average and highest [N, stripes, channels], y [N, runs, channels]; T is f32 or vec4 along channels, which counts
// elements of T. Grid: one invocation per T of y. Bytes: about 8 stripes / 3 read, 4 written per element of y.
struct Params { total: u32, stripes: u32, runs: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> average: array<T>;
@group(0) @binding(1) var<storage, read> highest: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  var first = (i / params.channels) % params.runs;
  var length = 1u;
  while (first > params.stripes - length) {
    first -= params.stripes - length + 1u;
    length++;
  }
  let image = i / (params.channels * params.runs);
  var at = (image * params.stripes + first) * params.channels + i % params.channels;
  var sum = average[at];
  var best = highest[at];
  for (var s = 1u; s < length; s++) {
    at += params.channels;
    sum += average[at];
    best = max(best, highest[at]);
  }
  y[i] = sum / f32(length) + best;
}
