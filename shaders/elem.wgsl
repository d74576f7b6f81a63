// The type that lanes load: vec4 or vec2 where channels (and strides) are multiples of it, else scalars.
#if ELEM == 4
alias T = vec4<f32>;
#else
#if ELEM == 2
alias T = vec2<f32>;
#else
alias T = f32;
#endif
#endif
