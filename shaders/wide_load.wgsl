// The next slice of both operands of conv_wide.wgsl, into registers: terms slice * KT on, under tap (ty, tx).
{
  let k = slice * (KT / 8u) + a_eight;
  #if !POINTWISE
  let tap_y = i32(ty) * params.step.x;
  let tap_x = i32(tx) * params.step.y;
  let a_tap = u32(tap_y) * params.aRow + u32(tap_x) * params.aPixel;
  #endif
  #for I in AL
  #if POINTWISE
  inside$I = k < params.inner;
  a$I = load_a(first$I + min(k, params.inner - 1u));
  #else
  inside$I = (u32(y$I + tap_y) < params.inH) & (u32(x$I + tap_x) < params.inW) & (k < params.inner);
  a$I = load_a(select(0u, first$I + a_tap + k, inside$I));
  #endif
  #endfor
  let b_tap = b_first + ty * params.bTap.x + tx * params.bTap.y;
  #for I in BL
  {
    #if TURNED
    let at = b_tap + b_own$I + min(slice * (KT / 8u) + b_eight, params.inner - 1u);
    #else
    // Terms past the last one repeat it; they meet zeros of a.
    let at = b_tap + min(slice * KT + b_line$I, 8u * params.inner - 1u) * params.bStride + b_column;
    #endif
    b$I = load_b(at);
  }
  #endfor
}
