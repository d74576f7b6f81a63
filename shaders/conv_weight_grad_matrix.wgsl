// conv_weight_grad_tiled.wgsl on matrix units: same product, rows, columns, splits and parameters, but operands are rounded to E (f16,
// or f32 where the adapter multiplies that); sums are f32. Only where it is asked for. Memory and matrices: matrix_tiles.wgsl.
// Both operands lie across the sum, whose terms are pixels: they come in blocks of four pixels by four rows or columns, and are turned
// on the way into workgroup memory.
// Tile: TILE_ROWS rows by TILE_COLS columns; grid z = group * splits + split. FLOPs: 2 * rows * cols * pixels.
// Bytes at least: 4 (|x| + |dy| + splits * |dw|).
#include matrix_tiles
#include tiled_weight_grad_product

fn deliver(z: u32, row: u32, column: u32, sum: vec4<f32>) {
  if (row >= params.rows) { return; }
  store_row((z % params.splits) * params.wSplit + (z / params.splits) * params.wGroup, row, column, sum);
}

#if ASKED
@subgroup_size(${LANES})
#endif
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32) {
  let tile = workgroup_number(id, count);
  let group = id.z / params.splits;
  let row0 = (tile / params.colTiles) * TILE_ROWS;
  let col0 = (tile % params.colTiles) * (TILE_COLS / 4u);
  let first = (id.z % params.splits) * params.pixelsPerSplit;
  let end = min(first + params.pixelsPerSplit, params.pixels);

  // What this invocation stages: four pixels, `quad` from its own on, of AL vec4 of rows and BL of columns.
  let quad = 4u * (thread % (KT / 4u));
  let side = thread / (KT / 4u);
  #for I in AL
  let a_row$I = 4u * (side + ${I}u * (THREADS / (KT / 4u)));
  #if AELEM == 4
  let row_of$I = row_at(row0 + a_row$I, group);
  #else
  #for C in 4
  let row_of${I}_$C = row_at(row0 + a_row$I + ${C}u, group);
  #endfor
  #endif
  #for P in 4
  var a${I}_${P}: LoadedA;
  var inside${I}_$P = true;
  #endfor
  #endfor
  #for I in BL
  let b_col$I = side + ${I}u * (THREADS / (KT / 4u));
  #for P in 4
  var b${I}_${P}: LoadedB;
  #endfor
  #endfor
  var pixel = pixel_at(first + quad);
  #include matrix_sums

  let steps = (end - first + KT - 1u) / KT;
  var at = first + quad;
  #include matrix_slices
  #include matrix_results
}
