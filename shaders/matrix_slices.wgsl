// All slices of the sum, one after the other. With PREFETCH the next one is loaded into registers while this one is multiplied; the
// last stands behind the loop, so that no path through it keeps what was loaded before: a choice between the two is made by moving
// registers, which is to wait for them.
#if PREFETCH
if (steps > 0u) {
  #if WEIGHT_GRAD
  #include matrix_weight_grad_load
  #else
  #include matrix_load
  #endif
  for (var step = 1u; ; step++) {
    #if WEIGHT_GRAD
    #include matrix_weight_grad_stage
    #else
    #include matrix_stage
    #endif
    workgroupBarrier();
    if (step == steps) { break; }
    #if WEIGHT_GRAD
    #include matrix_weight_grad_load
    #else
    #include matrix_load
    #endif
    #include matrix_multiply
    workgroupBarrier();
  }
  #include matrix_multiply
}
#else
for (var step = 0u; step < steps; step++) {
  #if WEIGHT_GRAD
  #include matrix_weight_grad_load
  #include matrix_weight_grad_stage
  #else
  #include matrix_load
  #include matrix_stage
  #endif
  workgroupBarrier();
  #include matrix_multiply
  workgroupBarrier();
}
#endif
