// What invocation `thread` of THREADS stages of a, from row `row0` on: one vec4 of AL rows. Rows past the end repeat the last one.
let a_vector = thread % (KT / 4u);
#for I in AL
let a_row$I = thread / (KT / 4u) + ${I}u * (THREADS / (KT / 4u));
#if POINTWISE
let image$I = min(row0 + a_row$I, params.rows - 1u) * params.aPixel + group * params.aGroup;
#else
let pixel$I = pixel_at(min(row0 + a_row$I, params.rows - 1u));
let image$I = pixel$I.image * params.aImage + group * params.aGroup;
let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
#endif
var a$I: LoadedA;
var inside$I = true;
#endfor
