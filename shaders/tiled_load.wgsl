// The next slice of both operands of conv_tiled.wgsl, into registers; under tap (ty, tx), terms slice * KT on.
#for I in AL
#if POINTWISE
a$I = terms(image$I, slice * (KT / 4u) + a_vector, true);
#else
a$I = gathered(image$I, y$I, x$I, ty, tx, slice * (KT / 4u) + a_vector);
#endif
#endfor
{
  let tap = group * params.bGroup + params.bStart + ty * params.bTap.x + tx * params.bTap.y;
  #for I in BL
  // Terms past the last one repeat it; they meet zeros of a.
  b$I = columns(tap + min(slice * KT + b_term + ${I}u * (LY / ${TV}u), params.inner * ${AELEM}u - 1u) * params.bStride, col0 + b_col);
  #endfor
}
