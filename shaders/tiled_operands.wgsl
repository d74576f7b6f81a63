// The operands of the kernels with workgroup memory, loaded along their contiguous sides: as vec4 where channels and strides are
// multiples of 4, else scalar by scalar. A slice that is loaded early must not be looked at before it is staged, as that would be to
// wait for it: until then what lies outside of the picture is only known as such.
#include elem
override KT: u32 = 8;
