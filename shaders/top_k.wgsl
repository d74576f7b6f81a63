// Folds a tile of similarities into running lists: for each image its `keep` most similar candidates, best first, ties by
// candidate number, and the least similarity seen. Tiles may come in any order; every pair must come once.
// place[fold] = first image, images, first candidate, candidates: the part of the tile that counts, and whose it is.
// Layout: tile[image * imageStride + candidate * candidateStride]; lists values and indices [keep, images], least [images],
// so that neighbouring lanes, which own neighbouring images, read neighbouring memory.
// Grid: one invocation per image of the tile. Bytes: 4 per element of the tile; lists change rarely.
struct Params { fold: u32, keep: u32, images: u32, imageStride: u32, candidateStride: u32 }
@group(0) @binding(0) var<storage, read> tile: array<f32>;
@group(0) @binding(1) var<storage, read> place: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;
@group(0) @binding(4) var<storage, read_write> least: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let column = workgroup_number(id, count) * 64u + lane;
  let part = place[params.fold];
  if (column >= part.y) { return; }
  let image = part.x + column;
  let last = (params.keep - 1u) * params.images + image;
  var worst = values[last];
  var worst_index = indices[last];
  var low = least[image];
  var at = column * params.imageStride;
  for (var r = 0u; r < part.w; r++) {
    let value = tile[at];
    at += params.candidateStride;
    low = min(low, value);
    let candidate = part.z + r;
    if (value > worst || (value == worst && candidate < worst_index)) {
      // The last one leaves; those that the candidate beats move down by one.
      var slot = last;
      for (; slot >= params.images; slot -= params.images) {
        let above = slot - params.images;
        let other = values[above];
        let other_index = indices[above];
        if (other > value || (other == value && other_index < candidate)) { break; }
        values[slot] = other;
        indices[slot] = other_index;
      }
      values[slot] = value;
      indices[slot] = candidate;
      worst = values[last];
      worst_index = indices[last];
    }
  }
  least[image] = low;
}
