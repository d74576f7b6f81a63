// The slice that conv_tiled.wgsl has in registers, into workgroup memory: number `buffer` of BUFFERS.
#for I in AL
#if POINTWISE
tile_a[buffer * (LY * ${TM}u * STRIDE) + a_place$I] = summed(vec4<f32>(a$I), slice * (KT / 4u) + a_vector, true);
#else
tile_a[buffer * (LY * ${TM}u * STRIDE) + a_place$I] = summed(vec4<f32>(a$I), slice * (KT / 4u) + a_vector, inside$I);
#endif
#endfor
#for I in BL
tile_b[buffer * (KT * LX * ${TV}u) + b_place + ${I}u * (LY / ${TV}u) * (LX * ${TV}u)] = b$I;
#endfor
slice++;
if (slice == slices) { slice = 0u; tx++; }
if (tx == params.tapsX) { tx = 0u; ty++; }
if (ty == params.tapsY) { ty = 0u; }
