// What conv_weight_grad_tiled.wgsl and conv_weight_grad_matrix.wgsl share: parameters, bindings, and how dw is written.
#include tiled_operands

#include weight_grad_product

/** Stores four columns, vec4 number `column` of row `to` of the dw that starts at `out`, as far as there are so many. */
fn store_row(out: u32, to: u32, column: u32, sum: vec4<f32>) {
  #if ELEM == 4
  if (column < params.cols) { dw[out + to * params.wStride + column] = sum; }
  #else
  #for D in 4
  if (4u * column + ${D}u < params.cols) { dw[out + to * params.wStride + 4u * column + ${D}u] = sum[$D]; }
  #endfor
  #endif
}
