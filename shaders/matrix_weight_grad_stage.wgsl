// The slice that was loaded goes into workgroup memory (conv_weight_grad_matrix.wgsl).
#for I in AL
#for P in 4
let kept${I}_$P = kept(a${I}_$P, inside${I}_$P);
#endfor
let turned_a$I = transpose(mat4x4<${E}>(kept${I}_0, kept${I}_1, kept${I}_2, kept${I}_3));
#for C in 4
tile_a[(a_row$I + ${C}u) * SLICE_ROW + quad / 4u] = turned_a$I[$C];
#endfor
#endfor
#for I in BL
let turned_b$I = transpose(mat4x4<${E}>(Staged(b${I}_0), Staged(b${I}_1), Staged(b${I}_2), Staged(b${I}_3)));
#for C in 4
tile_b[(4u * b_col$I + ${C}u) * SLICE_ROW + quad / 4u] = turned_b$I[$C];
#endfor
#endfor
