// All slices of the sum, one after the other: the next one is loaded into registers while this one is multiplied. The last stands behind
// the loop, so that no path through it keeps what was loaded before: a choice between the two is made by moving registers, which is to
// wait for them.
let my_row = (subgroup / ${SX}u) * (${RM}u * ${MM}u);
let my_col = (subgroup % ${SX}u) * (${RN}u * ${MN}u);
#for I in RM
#for J in RN
var c${I}_$J = subgroup_matrix_result<f32, ${MN}, ${MM}>();
#endfor
#endfor
if (steps > 0u) {
  #if WEIGHT_GRAD
  #include wide_weight_grad_load
  #else
  #include wide_load
  #endif
  for (var step = 1u; ; step++) {
    #if WEIGHT_GRAD
    #include wide_weight_grad_stage
    #else
    #include wide_stage
    #endif
    workgroupBarrier();
    if (step == steps) { break; }
    #if WEIGHT_GRAD
    #include wide_weight_grad_load
    #else
    #include wide_load
    #endif
    #include wide_multiply
    workgroupBarrier();
  }
  #include wide_multiply
}
