// The type that lanes compute with: vec4 or vec2 where channels (and strides) are multiples of it, else scalars.
// What is bound may be stored in halves: the type of a binding x then comes from the launcher as X (ops/lanes.ts: `stored`).
#if ELEM == 4
alias T = vec4<f32>;
#else
#if ELEM == 2
alias T = vec2<f32>;
#else
alias T = f32;
#endif
#endif
