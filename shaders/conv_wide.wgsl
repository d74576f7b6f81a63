// conv_matrix.wgsl for units of f16 that turn what they load, and for channels in eights: same product, rows, columns and parameters, whose
// strides are in eights. Memory and matrices: wide_tiles.wgsl.
// HALF_C, HALF_R: as HALF_A of wide_operands.wgsl. TURNED: b lies as [tap,
// column, term]. MOMENTS and SPLIT: as in conv_tiled.wgsl. Of a, tap and slice add what is the same for all invocations (tiled_source.wgsl).
// Tile: TILE_ROWS rows by TILE_COLS columns. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: |a| + |b| + |c|.
#include wide_tiles
#include conv_product
#include conv_place
#include wide_operands
#if MOMENTS
@group(0) @binding(7) var<storage, read_write> moments: array<T>;
#endif

#if RESIDUAL
#if HALF_R
fn load_residual(at: u32) -> vec4<u32> { return residual[at]; }
fn low_of_residual(v: vec4<u32>) -> vec4<f32> { return low_of(v); }
fn high_of_residual(v: vec4<u32>) -> vec4<f32> { return high_of(v); }
#else
fn load_residual(at: u32) -> Floats { return Floats(residual[2u * at], residual[2u * at + 1u]); }
fn low_of_residual(v: Floats) -> vec4<f32> { return v.low; }
fn high_of_residual(v: Floats) -> vec4<f32> { return v.high; }
#endif
#endif

/** Where a row of c begins. Only rows of a part of c, such as every second pixel, do not follow each other; divisions take long. */
fn place(row: u32, group: u32) -> u32 {
  #if !POINTWISE
  if (params.cRow != params.outW * params.cPixel || params.cImage != params.outH * params.cRow) { return place_of(row, group); }
  #endif
  return params.cStart + row * params.cPixel + group * params.cGroup;
}

#if ASKED
@subgroup_size(${LANES})
#endif
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let number = workgroup_number(id, count);
  #if SPLIT
  let group = id.z % params.groups;
  #else
  let group = id.z;
  #endif
  let row0 = (number / params.colTiles) * TILE_ROWS;
  let col0 = (number % params.colTiles) * (TILE_COLS / 8u);
  // What this invocation stages. Of a: one eight of AL rows; rows past the end repeat the last one.
  let a_eight = thread % (KT / 8u);
  #for I in AL
  let a_row$I = thread / (KT / 8u) + ${I}u * (THREADS / (KT / 8u));
  #include gathered_row
  var a$I: LoadedA;
  var inside$I = true;
  #endfor
  // Of b: an eight of columns of BL terms, or an eight of terms of BL columns; those past the end repeat the last one.
  #if TURNED
  let b_eight = thread % (KT / 8u);
  #for I in BL
  let b_line$I = thread / (KT / 8u) + ${I}u * (THREADS / (KT / 8u));
  let b_own$I = min(8u * col0 + b_line$I, 8u * params.cols - 1u) * params.bStride;
  #endfor
  #else
  let b_eight = thread % (TILE_COLS / 8u);
  let b_column = min(col0 + b_eight, params.cols - 1u);
  #for I in BL
  let b_line$I = thread / (TILE_COLS / 8u) + ${I}u * (THREADS / (TILE_COLS / 8u));
  #endfor
  #endif
  let b_first = group * params.bGroup + params.bStart;
  #for I in BL
  var b$I: LoadedB;
  #endfor

  #include sum_range
  #include matrix_sums
  #include matrix_slices
  #include wide_results
  #if MOMENTS
  #include wide_moments
  #endif
}
