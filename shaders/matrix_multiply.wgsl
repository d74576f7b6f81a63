// The slice in workgroup memory joins the sums: matrices of b are kept while those of a go by, so that each is loaded once.
for (var k = 0u; k < KT; k += ${MK}u) {
  #for G in RG
  #for J in CN
  let right${G}_$J = subgroupMatrixLoad<subgroup_matrix_right<${E}, ${MN}, ${MK}>, col_major>(&tile_b, (my_col + (${G}u * ${CN}u + ${J}u) * ${MN}u) * SLICE_ROW + k / 4u, SLICE_ROW);
  #endfor
  #endfor
  #for I in RM
  let left$I = subgroupMatrixLoad<subgroup_matrix_left<${E}, ${MK}, ${MM}>, row_major>(&tile_a, (my_row + ${I}u * ${MM}u) * SLICE_ROW + k / 4u, SLICE_ROW);
  #for G in RG
  #for J in CN
  c${I}_${G}_$J = subgroupMatrixMultiplyAccumulate(left$I, right${G}_$J, c${I}_${G}_$J);
  #endfor
  #endfor
  #endfor
}
