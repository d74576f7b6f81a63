// Where invocation `thread` of conv_tiled.wgsl finds what it stages of every slice: of a, one vec4 of AL rows; of b, one column of BL
// terms. Rows and columns past the end repeat the last one. What tap and slice add is the same for all invocations, so that it is
// added when it is known, and nothing else changes from slice to slice.
let a_vector = thread % (KT / 4u);
#for I in AL
let a_row$I = thread / (KT / 4u) + ${I}u * (LX * LY / (KT / 4u));
let a_place$I = a_row$I * STRIDE + a_vector;
#include gathered_row
#endfor
let b_vector = thread % (LX * ${TV}u);
let b_term = thread / (LX * ${TV}u);
let b_place = b_term * (LX * ${TV}u) + b_vector;
#if ELEM == 4
let b_column = min(col0 + b_vector, params.cols - 1u);
#else
let b_column = 4u * (col0 + b_vector);
#endif
let b_own = b_term * params.bStride;
let b_first = group * params.bGroup + params.bStart;
