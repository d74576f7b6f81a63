// The slice that conv_weight_grad_tiled.wgsl has in registers, into workgroup memory, number `buffer` of BUFFERS: zeros of x outside of
// the picture and past the last pixel.
#for I in AL
tile_a[buffer * (KT * ROWS) + a_pixel$I * ROWS + a_vector] = select(vec4<f32>(), vec4<f32>(a$I), kept$I);
#endfor
#for I in BL
tile_b[buffer * (KT * LX * ${TV}u) + (b_pixel + ${I}u * (LY / ${TV}u)) * (LX * ${TV}u) + b_vector] = vec4<f32>(b$I);
#endfor
