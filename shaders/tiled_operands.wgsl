// The operands of the kernels with workgroup memory, loaded along their contiguous sides: as vec4 where channels and strides are
// multiples of 4, else scalar by scalar. LoadedA and LoadedB are four neighbours as they lie in memory, Staged as they are multiplied,
// in E. A slice that is loaded early must not be looked at before it is staged, as that would be to wait for it: until then what
// lies outside of the picture is only known as such.
#include elem
alias Staged = vec4<${E}>;
override KT: u32 = 8;

fn kept(v: LoadedA, inside: bool) -> Staged { return select(Staged(), Staged(v), inside); }
