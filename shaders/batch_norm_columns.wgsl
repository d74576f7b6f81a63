// What of a map lies at one index of its binding: one T, or, where COLUMNS is 2, eight halves side by side in 16 bytes, which GPUs load at
// once and of which an invocation makes two Ts. `channels` of the parameters counts what is bound.
#if COLUMNS == 2
fn column0(v: vec4<u32>) -> T { return T(bitcast<$HALF>(v.xy)); }
fn column1(v: vec4<u32>) -> T { return T(bitcast<$HALF>(v.zw)); }
fn columns(v0: T, v1: T) -> vec4<u32> { return vec4<u32>(bitcast<vec2<u32>>($HALF(v0)), bitcast<vec2<u32>>($HALF(v1))); }
#else
alias column0 = T;
#endif
