// Where conv_weight_grad_matrix.wgsl finds what it stages. Wants the parameters of tiled_weight_grad_product.wgsl.

#if AELEM == 4
alias LoadedA = $X;
#else
alias LoadedA = vec4<$X>;
#endif
#if ELEM == 4
alias LoadedB = $DY;
#else
alias LoadedB = vec4<$DY>;
#endif

/** What a row of dw reads of x: from the pixel's place (y, x) on, and how many floats further. */
struct Row { y: i32, x: i32, at: u32 }

fn row_at(row: u32, group: u32) -> Row {
  let r = min(row, params.rows - 1u);
  let tap = r / params.inner;
  return Row(i32(tap / params.tapsX) - params.pad.x, i32(tap % params.tapsX) - params.pad.y, r % params.inner + group * params.xGroup);
}

/** Where in x a row of dw finds what it takes from a pixel, and whether it is anywhere: not outside of the picture, nor unless `kept`. */
struct Source { at: u32, inside: bool }

fn source(p: Pixel, number: u32, row: Row, kept: bool) -> Source {
  #if POINTWISE
  return Source((select(0u, number, kept) * params.xPixel + row.at) / ${AELEM}u, kept);
  #else
  let y = u32(i32(p.y) * params.stride.x + row.y);
  let at = u32(i32(p.x) * params.stride.y + row.x);
  let inside = kept && y < params.inH && at < params.inW;
  let start = select(0u, p.image * params.xImage + y * params.xRow + at * params.xPixel, inside);
  return Source((start + row.at) / ${AELEM}u, inside);
  #endif
}

fn advanced(p: Pixel) -> Pixel {
  var q = Pixel(p.image + params.advance.x, p.y + params.advance.y, p.x + params.advance.z);
  if (q.x >= params.outW) { q.x -= params.outW; q.y++; }
  if (q.y >= params.outH) { q.y -= params.outH; q.image++; }
  return q;
}
