// The next slice of both operands of conv_tiled.wgsl, into registers: terms slice * KT on, under tap (ty, tx). What is loaded is left as
// it is until it is staged: whoever looks at it waits for it.
let tap_y = i32(ty) * params.step.x;
let tap_x = i32(tx) * params.step.y;
let a_tap = u32(tap_y) * params.aRow + u32(tap_x) * params.aPixel;
#for I in AL
{
  #if POINTWISE
  let start = first$I;
  #else
  inside$I = (u32(y$I + tap_y) < params.inH) & (u32(x$I + tap_x) < params.inW);
  let start = select(0u, first$I + a_tap, inside$I);
  #endif
  #if AELEM == 4
  #if WHOLE
  a$I = a[start + slice * (KT / 4u) + a_vector];
  #else
  a$I = a[start + min(slice * (KT / 4u) + a_vector, params.inner - 1u)];
  #endif
  #else
  #for C in 4
  a$I[$C] = f32(a[start + min(slice * KT + 4u * a_vector + ${C}u, params.inner - 1u)]);
  #endfor
  #endif
}
#endfor
let b_tap = b_first + ty * params.bTap.x + tx * params.bTap.y;
#for I in BL
{
  #if WHOLE
  let start = b_own + (b_tap + (slice * KT + ${I}u * (LY / ${TV}u)) * params.bStride);
  #else
  // Terms past the last one repeat it; they meet zeros of a.
  let start = b_tap + min(slice * KT + b_term + ${I}u * (LY / ${TV}u), params.inner * ${AELEM}u - 1u) * params.bStride;
  #endif
  #if ELEM == 4
  b$I = b[start + b_column];
  #else
  #for C in 4
  b$I[$C] = b[start + min(b_column + ${C}u, params.cols - 1u)];
  #endfor
  #endif
}
#endfor
