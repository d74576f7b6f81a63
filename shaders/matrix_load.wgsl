// The next slice of both operands of conv_matrix.wgsl, into registers: terms slice * KT on, under tap (ty, tx).
{
  let k = slice * (KT / 4u) + a_vector;
  #for I in AL
  #if POINTWISE
  a$I = terms(image$I, k);
  #if AELEM == 4
  inside$I = k < params.inner;
  #endif
  #else
  let source_y$I = u32(y$I + i32(ty) * params.step.x);
  let source_x$I = u32(x$I + i32(tx) * params.step.y);
  let found$I = source_y$I < params.inH && source_x$I < params.inW;
  a$I = terms(image$I + select(0u, source_y$I * params.aRow + source_x$I * params.aPixel, found$I), k);
  #if AELEM == 4
  inside$I = found$I && k < params.inner;
  #else
  inside$I = found$I;
  #endif
  #endif
  #endfor
}
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
