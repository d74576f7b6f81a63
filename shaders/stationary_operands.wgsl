// The operands of the kernels for software adapters: T is held, by columns; A is loaded by lanes and handed round. SG lanes make
// a subgroup, KC terms of the sum are held at a time.
#include elem
#if AELEM == 4
alias A = vec4<f32>;
#else
alias A = f32;
#endif
const SG = ${SG}u;
const KC = ${KC}u;
