// All slices of the sum of a kernel on matrix units, one after the other, by how its operands are loaded and staged (LOADS) and multiplied (UNITS).
// With PREFETCH the next one is loaded into registers while this one is multiplied; the last stands behind the loop, so that no path through it
// keeps what was loaded before: a choice between the two is made by moving registers, which is to wait for them.
#if PREFETCH
if (steps > 0u) {
  #include ${LOADS}_load
  for (var step = 1u; ; step++) {
    #include ${LOADS}_stage
    workgroupBarrier();
    if (step == steps) { break; }
    #include ${LOADS}_load
    #include ${UNITS}_multiply
    workgroupBarrier();
  }
  #include ${UNITS}_multiply
}
#else
for (var step = 0u; step < steps; step++) {
  #include ${LOADS}_load
  #include ${LOADS}_stage
  workgroupBarrier();
  #include ${UNITS}_multiply
  workgroupBarrier();
}
#endif
