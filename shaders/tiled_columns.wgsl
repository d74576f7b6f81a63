// Four columns of the operand that lies by columns: vec4 number `column` of the row that starts at b[start]. Those past the last
// repeat it; they are not stored. Wants params.cols, in T.
fn columns(start: u32, column: u32) -> Staged {
  #if ELEM == 4
  return Staged(b[start + min(column, params.cols - 1u)]);
  #else
  var v: Staged;
  #for C in 4
  v[$C] = ${E}(b[start + min(4u * column + ${C}u, params.cols - 1u)]);
  #endfor
  return v;
  #endif
}
