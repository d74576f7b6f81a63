// What goes with elem.wgsl's T: its lanes as unsigned integers, for positions and for bits of any dtype.
#if ELEM == 4
alias U = vec4<u32>;
#else
alias U = u32;
#endif
