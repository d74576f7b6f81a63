// conv_weight_grad_matrix.wgsl for units of f16 that turn what they load, and for channels in eights: same product, rows, columns, splits and
// parameters; strides of x are in floats, those of dy and dw in eights. Memory and matrices: wide_tiles.wgsl.
// Tile: TILE_ROWS rows by TILE_COLS columns; grid z = group * splits + split. FLOPs: 2 * rows * cols * pixels.
// Bytes at least: |x| + |dy| + 4 splits * |dw|.
#include wide_tiles
#include weight_grad_product
#include wide_operands
#include weight_grad_source

#if ASKED
@subgroup_size(${LANES})
#endif
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let number = workgroup_number(id, count);
  let group = id.z / params.splits;
  let row0 = (number / params.colTiles) * TILE_ROWS;
  let col0 = (number % params.colTiles) * (TILE_COLS / 8u);
  let first = (id.z % params.splits) * params.pixelsPerSplit;
  let end = min(first + params.pixelsPerSplit, params.pixels);

  // What this invocation stages: an eight of rows of AL pixels, and one of columns of BL pixels.
  let a_eight = thread % (TILE_ROWS / 8u);
  let row_of = row_at(row0 + 8u * a_eight, group);
  #for I in AL
  let a_pixel$I = thread / (TILE_ROWS / 8u) + ${I}u * (THREADS / (TILE_ROWS / 8u));
  #if !POINTWISE
  var source$I = source_of(first + a_pixel$I);
  #endif
  var a$I: LoadedA;
  var inside$I = true;
  #endfor
  let b_eight = thread % (TILE_COLS / 8u);
  let b_column = group * params.dGroup + min(col0 + b_eight, params.cols - 1u);
  #for I in BL
  let b_pixel$I = thread / (TILE_COLS / 8u) + ${I}u * (THREADS / (TILE_COLS / 8u));
  var b$I: LoadedB;
  #endfor

  let steps = (end - first + KT - 1u) / KT;
  var at = first;
  #include matrix_sums
  #include matrix_slices
  #include wide_results
}
