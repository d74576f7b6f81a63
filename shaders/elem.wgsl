// The type that lanes load: vec4 where channels are a multiple of 4, else scalars.
#if ELEM == 4
alias T = vec4<f32>;
#else
alias T = f32;
#endif
