// c = the sum over p of parts[p], in the order of p, finished by conv_epilogue.wgsl: what is left to do where workgroups of conv_tiled.wgsl
// or conv_matrix.wgsl shared the sums of their tiles.
// parts: [parts, groups, rows, cols] in T; c: by the strides of conv_product.wgsl. Four are loaded before the first one is looked at, as
// a GPU would wait for each by itself; past the last part it is loaded again, and not added.
// Grid: one invocation per T of c. Bytes: 4 (parts + 1) per float of c, 4 more with a residual.
#include elem
struct Params {
  size: u32,    // of a part, in T
  parts: u32,
  rows: u32, cols: u32,   // of one group, columns in T
  outH: u32, outW: u32,
  cImage: u32, cRow: u32, cPixel: u32, cGroup: u32, cStart: u32,
  relu: u32,
}
@group(0) @binding(0) var<storage, read> parts: array<T>;
@group(0) @binding(1) var<storage, read_write> c: array<$C>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include conv_pixel
#include conv_place
#include conv_epilogue

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  var sum = T();
  for (var p = 0u; p < params.parts; p += 4u) {
    #for I in 4
    let part$I = parts[min(p + ${I}u, params.parts - 1u) * params.size + i];
    #endfor
    #for I in 4
    sum += select(T(), part$I, p + ${I}u < params.parts);
    #endfor
  }
  let row = i / params.cols;
  let column = i % params.cols;
  let group = row / params.rows;
  let place = place_of(row % params.rows, group) + column;
  c[place] = ${C}(finished(sum, group * params.cols + column, place));
}
