// Where the subgroup's outputs begin in the tile, and their sums.
let my_row = (subgroup / ${SX}u) * (${RM}u * ${MM}u);
let my_col = (subgroup % ${SX}u) * (${RG}u * ${CN}u * ${MN}u);
#for I in RM
#for G in RG
#for J in CN
var c${I}_${G}_$J = subgroup_matrix_result<f32, ${MN}, ${MM}>();
#endfor
#endfor
#endfor
