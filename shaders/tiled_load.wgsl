// The next slice of both operands of conv_tiled.wgsl, into registers.
#include tiled_load_rows
{
  let tap = group * params.bGroup + params.bStart + ty * params.bTap.x + tx * params.bTap.y;
  #for I in BL
  // Terms past the last one repeat it; they meet zeros of a.
  b$I = columns(tap + min(slice * KT + b_term + ${I}u * (LY / ${TV}u), params.inner * ${AELEM}u - 1u) * params.bStride, col0 + b_col);
  #endfor
}
