// The sums leave: `deliver` gets four columns of a row at a time, neighbours along the row by neighbouring lanes.
#for G in RG
#for I in RM
#for J in CN
subgroupMatrixStore<row_major>(&tile_c, subgroup * PART + ${J}u * (${MN}u / 4u), c${I}_${G}_$J, PART_ROW);
#endfor
workgroupBarrier();
for (var e = lane; e < ${MM}u * (PART_ROW - 2u); e += lanes) {
  let row = e / (PART_ROW - 2u);
  let column = e % (PART_ROW - 2u);
  deliver(id.z, row0 + my_row + ${I}u * ${MM}u + row, col0 + my_col / 4u + ${G}u * (PART_ROW - 2u) + column, tile_c[subgroup * PART + row * PART_ROW + column]);
}
workgroupBarrier();
#endfor
#if MOMENTS
#include matrix_moments
#endif
#endfor
