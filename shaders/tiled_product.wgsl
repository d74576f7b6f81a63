// What conv_tiled.wgsl and conv_matrix.wgsl share: parameters as those of conv.wgsl, bindings, and how c is written.
#include tiled_operands
#include conv_product
#include conv_place

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
