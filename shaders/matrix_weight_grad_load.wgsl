// The next slice of both operands of conv_weight_grad_matrix.wgsl, into registers: pixels `at` on. Moves on to the one after it.
{
  let pixel0 = pixel;
  #for P in 4
  #if P > 0
  let pixel$P = next(pixel$PREV);
  #endif
  // Pixels past the last one are zeros in x; dy repeats the last one, and meets them.
  let number$P = at + ${P}u;
  let start$P = min(number$P, end - 1u) * params.dPixel + group * params.dGroup;
  #for I in AL
  #if AELEM == 4
  let found${I}_$P = source(pixel$P, number$P, row_of$I, number$P < end);
  a${I}_$P = x[found${I}_${P}.at];
  inside${I}_$P = found${I}_${P}.inside;
  #else
  #for C in 4
  let found${I}_${P}_$C = source(pixel$P, number$P, row_of${I}_$C, number$P < end);
  a${I}_$P[$C] = select($X(0.0), x[found${I}_${P}_${C}.at], found${I}_${P}_${C}.inside);
  #endfor
  #endif
  #endfor
  #for I in BL
  b${I}_$P = columns(start$P, col0 + b_col$I);
  #endfor
  #endfor
}
#if !POINTWISE
pixel = advanced(pixel);
#endif
at += KT;
