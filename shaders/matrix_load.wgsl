// The next slice of both operands of conv_matrix.wgsl, into registers.
#include tiled_load_rows
{
  let tap = group * params.bGroup + params.bStart + ty * params.bTap.x + tx * params.bTap.y;
  #for C in 4
  // Terms past the last one repeat it; they meet zeros of a.
  let term$C = tap + min(slice * KT + 4u * a_vector + ${C}u, params.inner * ${AELEM}u - 1u) * params.bStride;
  #for I in BL
  b${I}_$C = columns(term$C, col0 + b_col$I);
  #endfor
  #endfor
}
