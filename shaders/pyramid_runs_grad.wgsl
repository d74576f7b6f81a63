// Gradient of pyramid_runs.wgsl, as a gather: over the runs that hold stripe s, in order,
//   daverage[n, s, c] = sum of dy[n, r, c] / length of r,  dhighest[n, s, c] = sum of dy[n, r, c] where s is r's first maximum.
// Layout: as there. Grid: one invocation per T of daverage. Bytes: 4 runs / stripes (and the highest again) read, 8 written
// per element of daverage.
struct Params { total: u32, stripes: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> dy: array<T>;
@group(0) @binding(1) var<storage, read> highest: array<T>;
@group(0) @binding(2) var<storage, read_write> daverage: array<T>;
@group(0) @binding(3) var<storage, read_write> dhighest: array<T>;
@group(0) @binding(4) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let c = i % params.channels;
  let s = (i / params.channels) % params.stripes;
  let image = i / (params.channels * params.stripes);
  let stripes = image * params.stripes;
  let runs = image * (params.stripes * (params.stripes + 1u) / 2u);
  let own = highest[i];
  var from_average = T();
  var from_highest = T();
  var level = runs;  // the first run of this length
  for (var length = 1u; length <= params.stripes; length++) {
    let low = select(0u, s + 1u - length, s + 1u > length);
    let high = min(s, params.stripes - length);
    for (var first = low; first <= high; first++) {
      let g = dy[(level + first) * params.channels + c];
      from_average += g / f32(length);
      // Earlier stripes of the run must be lower, later ones not higher.
      var g_if_first = g;
      for (var j = first; j < first + length; j++) {
        let other = highest[(stripes + j) * params.channels + c];
        if (j < s) {
          g_if_first = select(g_if_first, T(), other >= own);
        } else {
          g_if_first = select(g_if_first, T(), other > own);
        }
      }
      from_highest += g_if_first;
    }
    level += params.stripes - length + 1u;
  }
  daverage[i] = from_average;
  dhighest[i] = from_highest;
}
