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

#if UNROLLED
// What is held is loaded by code without a loop: into a private array at an index that varies Mesa stores lane by lane.
#include touch

fn touch_a(v: A) -> u32 {
  #if AELEM == 1
  return u32(v > 0.0);
  #else
  return u32(v.x > 0.0);
  #endif
}
#endif
