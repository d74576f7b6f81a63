// The output pixels of a convolution one after the other; wants params.outH and params.outW.
struct Pixel { image: u32, y: u32, x: u32 }

fn pixel_at(row: u32) -> Pixel {
  let per_image = params.outH * params.outW;
  return Pixel(row / per_image, (row % per_image) / params.outW, row % params.outW);
}

fn next(p: Pixel) -> Pixel {
  let wrap_x = p.x + 1u == params.outW;
  let wrap_y = wrap_x && p.y + 1u == params.outH;
  return Pixel(p.image + u32(wrap_y), select(p.y + u32(wrap_x), 0u, wrap_y), select(p.x + 1u, 0u, wrap_x));
}
