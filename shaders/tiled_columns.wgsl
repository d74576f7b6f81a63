// Four columns of the operand that lies by columns: vec4 number `column` of the row that starts at b[start]. Those past the last
// repeat it; they are not stored. Wants params.cols, in T.
fn columns(start: u32, column: u32) -> LoadedB {
  #if ELEM == 4
  return b[start + min(column, params.cols - 1u)];
  #else
  var v: LoadedB;
  #for C in 4
  v[$C] = b[start + min(4u * column + ${C}u, params.cols - 1u)];
  #endfor
  return v;
  #endif
}
