// The slice that was loaded goes into workgroup memory (conv_matrix.wgsl); the next one to load is the one after it.
#for I in AL
tile_a[a_row$I * SLICE_ROW + a_vector] = kept(a$I, inside$I);
#endfor
#for I in BL
let turned$I = transpose(mat4x4<${E}>(Staged(b${I}_0), Staged(b${I}_1), Staged(b${I}_2), Staged(b${I}_3)));
#for C in 4
tile_b[(4u * b_col$I + ${C}u) * SLICE_ROW + a_vector] = turned$I[$C];
#endfor
#endfor
slice++;
if (slice == slices) { slice = 0u; tx++; }
if (tx == params.tapsX) { tx = 0u; ty++; }
