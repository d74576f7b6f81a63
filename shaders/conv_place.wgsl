// Where a row of c begins; wants conv_pixel.wgsl.
fn place_of(row: u32, group: u32) -> u32 {
  #if POINTWISE
  return params.cStart + row * params.cPixel + group * params.cGroup;
  #else
  let p = pixel_at(row);
  return params.cStart + p.image * params.cImage + p.y * params.cRow + p.x * params.cPixel + group * params.cGroup;
  #endif
}
