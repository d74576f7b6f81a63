// Pixels k to k + STEP of what conv_weight_grad_stationary.wgsl holds; moves on to the next one.
#for K in STEP
let source_y$K = u32(i32(pixel.y) * params.stride.x + shift_y);
let source_x$K = u32(i32(pixel.x) * params.stride.y + shift_x);
let inside$K = k0 * ${AELEM}u + k + ${K}u < k_end * ${AELEM}u && source_y$K < params.inH && source_x$K < params.inW;
let at$K = select(0u, pixel.image * params.xImage + source_y$K * params.xRow + source_x$K * params.xPixel, inside$K)
  + group * params.xGroup;
pixel = next(pixel);
#endfor
#if UNROLLED
#for K in STEP
#for L in COLUMN_LINES
touched |= touch(T(x[at$K + min(tile_col + ${L}u * (16u / ${ELEM}u), params.cols - 1u)]));
#endfor
#endfor
#endif
#for K in STEP
#for J in TV
held[${J}u * KC + k + ${K}u] = select(T(0.0), T(x[at$K + col$J]), inside$K);
#endfor
#endfor
