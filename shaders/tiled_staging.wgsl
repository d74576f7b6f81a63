// The tile of a workgroup (LY * TM rows, LX * TV vec4 of columns) and what invocation `thread` of it stages of a slice.
let tile = workgroup_number(id, count);
let group = id.z;
let row0 = (tile / params.colTiles) * (LY * ${TM}u);
let col0 = (tile % params.colTiles) * (LX * ${TV}u);

// What this invocation stages: of a, one vec4 of AL rows; of b, one column of BL terms. Rows past the end repeat the last one.
let a_vector = thread % (KT / 4u);
#for I in AL
let a_row$I = thread / (KT / 4u) + ${I}u * (LX * LY / (KT / 4u));
#if POINTWISE
let image$I = min(row0 + a_row$I, params.rows - 1u) * params.aPixel + group * params.aGroup;
#else
let pixel$I = pixel_at(min(row0 + a_row$I, params.rows - 1u));
let image$I = pixel$I.image * params.aImage + group * params.aGroup;
let y$I = i32(pixel$I.y) * params.mul.x + params.add.x;
let x$I = i32(pixel$I.x) * params.mul.y + params.add.y;
#endif
var a$I: vec4<f32>;
#endfor
let b_col = thread % (LX * ${TV}u);
let b_term = thread / (LX * ${TV}u);
#for I in BL
var b$I: vec4<f32>;
#endfor
