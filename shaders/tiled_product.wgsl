// What conv_tiled.wgsl and conv_matrix.wgsl share: parameters as those of conv.wgsl, bindings, and how c is written.
#include tiled_operands
#include conv_product
#include conv_place
#if MOMENTS
@group(0) @binding(7) var<storage, read_write> moments: array<T>;

/**
 * A vec4 of c as its readers find it. Compilers (Mesa's) take rounding to halves and back for nothing; they do not know that a tile's
 * rows are those that it is launched for, so that no bit changes.
 */
fn as_read(v: $C, tile_rows: u32) -> T {
  #if MOMENTS == f16
  return T(bitcast<$C>(bitcast<vec2<u32>>(v) ^ vec2<u32>(tile_rows ^ params.rowsPer)));
  #else
  return v;
  #endif
}
#endif

/** Finishes and stores four columns, vec4 number `column` of the row at c[out], as far as there are so many. */
fn store_columns(out: u32, group: u32, column: u32, sum: vec4<f32>) {
  #if ELEM == 4
  if (column < params.cols) { c[out + column] = $C(finished(T(sum), group * params.cols + column, out + column)); }
  #else
  #for I in 4
  if (4u * column + ${I}u < params.cols) {
    let at$I = 4u * column + ${I}u;
    c[out + at$I] = ${C}(finished(T(sum[$I]), group * params.cols + at$I, out + at$I));
  }
  #endfor
  #endif
}
