// The operands of the kernels with workgroup memory: A as loaded along its contiguous side, T by columns. Both are vec4 where
// channels and strides are multiples of 4, else scalars; what is staged and summed is always vec4. E: what is multiplied.
#include elem
#if AELEM == 4
alias A = vec4<f32>;
#else
alias A = f32;
#endif
alias Staged = vec4<${E}>;
override KT: u32 = 8;
