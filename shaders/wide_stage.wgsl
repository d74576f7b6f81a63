// The slice that was loaded goes into workgroup memory (conv_wide.wgsl); the next one to load is the one after it.
#for I in AL
tile[a_row$I * A_ROW + a_eight] = select(vec4<u32>(), staged_a(a$I), inside$I);
#endfor
#for I in BL
tile[B_AT + b_line$I * B_ROW + b_eight] = staged_b(b$I);
#endfor
slice++;
if (slice == slices) { slice = 0u; tx++; }
if (tx == params.tapsX) { tx = 0u; ty++; }
