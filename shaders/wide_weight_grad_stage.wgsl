// The slice that was loaded goes into workgroup memory (conv_weight_grad_wide.wgsl).
#for I in AL
tile[a_pixel$I * A_ROW + a_eight] = select(vec4<u32>(), staged_a(a$I), inside$I);
#endfor
#for I in BL
tile[B_AT + b_pixel$I * B_ROW + b_eight] = staged_b(b$I);
#endfor
