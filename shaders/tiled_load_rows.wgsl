// The next slice of a, into registers; under tap (ty, tx), terms slice * KT on.
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
