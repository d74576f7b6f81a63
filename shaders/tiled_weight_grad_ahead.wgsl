// The next slice of both operands of conv_weight_grad_tiled.wgsl, into registers: pixels `at` on. Moves on to the one after it; past the
// last one is the last one again, which nobody stages to be summed. What is loaded is left as it is until it is staged.
#if WHOLE
let from_pixel = min(at, end - KT);
#endif
#for I in AL
#if POINTWISE
#if WHOLE
let number$I = from_pixel + a_pixel$I;
#else
kept$I = Kept(at + a_pixel$I < end);
let number$I = min(at + a_pixel$I, end - 1u);
#endif
#if AELEM == 4
a$I = x[number$I * x_pixel() + row_of.at];
#else
#for C in 4
a$I[$C] = f32(x[number$I * x_pixel() + row_of$C.at]);
#endfor
#endif
#else
#if AELEM == 4
kept$I = inside(source$I, row_of) & (at + a_pixel$I < end);
a$I = x[select(0u, source$I.at + row_of.at, kept$I)];
#else
#for C in 4
kept$I[$C] = inside(source$I, row_of$C) & (at + a_pixel$I < end);
a$I[$C] = f32(x[select(0u, source$I.at + row_of$C.at, kept$I[$C])]);
#endfor
#endif
source$I = advanced(source$I);
#endif
#endfor
#for I in BL
{
  // Pixels past the last one repeat it; they meet zeros of x.
  #if WHOLE
  let start = b_own + (from_pixel + ${I}u * (LY / ${TV}u)) * params.dPixel;
  #else
  let start = min(at + b_pixel + ${I}u * (LY / ${TV}u), end - 1u) * params.dPixel;
  #endif
  #if ELEM == 4
  b$I = b[start + b_column];
  #else
  #for C in 4
  b$I[$C] = f32(b[start + group * params.dGroup + min(b_column + ${C}u, params.cols - 1u)]);
  #endfor
  #endif
}
#endfor
at += KT;
