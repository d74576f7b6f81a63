// The next slice of both operands of conv_weight_grad_tiled.wgsl, into registers: pixels `at` on. Moves on to the one after it.
#for I in AL
{
  #if AELEM == 4
  let found = source(pixel$I, at + a_pixel$I, row_of, at + a_pixel$I < end);
  a$I = x[found.at];
  inside$I = found.inside;
  #else
  #for C in 4
  let found$C = source(pixel$I, at + a_pixel$I, row_of$C, at + a_pixel$I < end);
  a$I[$C] = select($X(0.0), x[found${C}.at], found${C}.inside);
  #endfor
  #endif
}
#if !POINTWISE
pixel$I = advanced(pixel$I);
#endif
#endfor
#for I in BL
// Pixels past the last one repeat it; they meet zeros of x.
b$I = columns(min(at + b_pixel + ${I}u * (LY / ${TV}u), end - 1u) * params.dPixel + group * params.dGroup, col0 + b_col);
#endfor
at += KT;
