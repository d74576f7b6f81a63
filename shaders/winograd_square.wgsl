// The squares of a map by 4 x 4 (inputs) or 2 x 2 (outputs) pixels, in reading order, image after image; wants params.
struct Square {
  image: u32,  // first row of its image among all images' rows
  top: u32,    // of its outputs
  left: u32,
}

fn square_of(tile: u32) -> Square {
  let line = tile / params.tilesX;
  return Square((line / params.tilesY) * params.height, 2u * (line % params.tilesY), 2u * (tile % params.tilesX));
}
