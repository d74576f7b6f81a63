// The slice in workgroup memory joins the sums: matrices of b are kept while those of a go by, so that each is loaded once.
for (var k = 0u; k < KT; k += ${MK}u) {
  #for J in CN
  #if TURNED
  let right$J = subgroupMatrixLoad<subgroup_matrix_right<f16, ${MN}, ${MK}>, col_major>(&tile, B_AT + (my_col + ${J}u * ${MN}u) * B_ROW + k / 8u, B_ROW);
  #else
  let right$J = subgroupMatrixLoad<subgroup_matrix_right<f16, ${MN}, ${MK}>, row_major>(&tile, B_AT + k * B_ROW + my_col / 8u + ${J}u * (${MN}u / 8u), B_ROW);
  #endif
  #endfor
  #for I in RM
  #if WEIGHT_GRAD
  let left$I = subgroupMatrixLoad<subgroup_matrix_left<f16, ${MK}, ${MM}>, col_major>(&tile, k * A_ROW + my_row / 8u + ${I}u * (${MM}u / 8u), A_ROW);
  #else
  let left$I = subgroupMatrixLoad<subgroup_matrix_left<f16, ${MK}, ${MM}>, row_major>(&tile, (my_row + ${I}u * ${MM}u) * A_ROW + k / 8u, A_ROW);
  #endif
  #for J in CN
  c${I}_0_$J = subgroupMatrixMultiplyAccumulate(left$I, right$J, c${I}_0_$J);
  #endfor
  #endfor
}
