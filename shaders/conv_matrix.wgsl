// conv_tiled.wgsl on matrix units: same product, rows, columns and parameters, but operands are rounded to E (f16, or f32 where the
// adapter multiplies that); sums are f32. Only where it is asked for. Memory and matrices: matrix_tiles.wgsl.
// MOMENTS: as in conv_tiled.wgsl (matrix_moments.wgsl).
// a comes as vec4 along the sum, as it is staged; b, which lies by columns, in blocks of four terms by four columns that are turned.
// Tile: TILE_ROWS rows by TILE_COLS columns. FLOPs: 2 * rows * cols * taps * inner. Bytes at least: 4 (|a| + |b| + |c|).
#include matrix_tiles
#include tiled_product

#if AELEM == 4
alias LoadedA = $A;
#else
alias LoadedA = vec4<$A>;
#endif
alias LoadedB = vec4<f32>;

/** Four terms of a row of a from its term `4 * k` on, under a tap whose first element is a[start]. Of those past the last, the zeros. */
fn terms(start: u32, k: u32) -> LoadedA {
  #if AELEM == 4
  return a[start + min(k, params.inner - 1u)];
  #else
  var v: LoadedA;
  #for C in 4
  v[$C] = select($A(0.0), a[start + min(4u * k + ${C}u, params.inner - 1u)], 4u * k + ${C}u < params.inner);
  #endfor
  return v;
  #endif
}

#if MOMENTS
// Of the column that is a lane's own, as stored: around the first value.
var<private> origin: vec4<f32>;
var<private> own_rows: f32;
var<private> own_sum: vec4<f32>;
var<private> own_squares: vec4<f32>;
#endif

fn deliver(group: u32, row: u32, column: u32, sum: vec4<f32>) {
  #if MOMENTS
  if ((row < params.rows) & (column < params.cols)) {
    let at = place_of(row, group) + column;
    let value = ${C}(finished(sum, group * params.cols + column, at));
    c[at] = value;
    let read = as_read(value, TILE_ROWS);
    origin = select(origin, read, own_rows == 0.0);
    let d = read - origin;
    own_rows += 1.0;
    own_sum += d;
    own_squares = fma(d, d, own_squares);
  }
  #else
  if (row < params.rows) { store_columns(place_of(row, group), group, column, sum); }
  #endif
}

#if ASKED
@subgroup_size(${LANES})
#endif
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32) {
  let tile = workgroup_number(id, count);
  #if SPLIT
  let group = id.z % params.groups;
  #else
  let group = id.z;
  #endif
  let row0 = (tile / params.colTiles) * TILE_ROWS;
  let col0 = (tile % params.colTiles) * (TILE_COLS / 4u);
  // What this invocation stages. Of a: one vec4 of AL rows; rows past the end repeat the last one.
  let a_vector = thread % (KT / 4u);
  #for I in AL
  let a_row$I = thread / (KT / 4u) + ${I}u * (THREADS / (KT / 4u));
  #if POINTWISE
  let image$I = min(row0 + a_row$I, params.rows - 1u) * params.aPixel + group * params.aGroup;
  #else
  let pixel$I = pixel_at(min(row0 + a_row$I, params.rows - 1u));
  let image$I = pixel$I.image * params.aImage + group * params.aGroup;
  let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
  let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
  #endif
  var a$I: LoadedA;
  var inside$I = true;
  #endfor
  // Of b: four terms, the same as of a, of BL vec4 of columns.
  #for I in BL
  let b_col$I = thread / (KT / 4u) + ${I}u * (THREADS / (KT / 4u));
  #for C in 4
  var b${I}_${C}: LoadedB;
  #endfor
  #endfor
  #include matrix_sums

  #include sum_range
  #include matrix_slices
  #include matrix_results
}
