// Where row a_row$I of the tile begins in a, as first$I, and where in the picture it is; rows past the end repeat the last one. Wants row0 and group.
#if POINTWISE
let first$I = min(row0 + a_row$I, params.rows - 1u) * params.aPixel + group * params.aGroup;
#else
let pixel$I = pixel_at(min(row0 + a_row$I, params.rows - 1u));
let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
// Before the map's own first element, perhaps: then taps that are inside lead back.
let first$I = pixel$I.image * params.aImage + group * params.aGroup + u32(y$I) * params.aRow + u32(x$I) * params.aPixel;
#endif
