// The next slice of both operands of conv_weight_grad_wide.wgsl, into registers: pixels `at` on. Moves on to the one after it. Pixels past the
// last one repeat it in dy; they meet zeros of x.
#for I in AL
#if POINTWISE
inside$I = at + a_pixel$I < end;
a$I = load_a(min(at + a_pixel$I, end - 1u) * x_pixel() + row_of.at);
#else
inside$I = inside(source$I, row_of) & (at + a_pixel$I < end);
a$I = load_a(select(0u, source$I.at + row_of.at, inside$I));
source$I = advanced(source$I);
#endif
#endfor
#for I in BL
b$I = load_b(min(at + b_pixel$I, end - 1u) * params.dPixel + b_column);
#endfor
at += KT;
