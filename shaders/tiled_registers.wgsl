// What a slice of conv_tiled.wgsl passes through on its way to workgroup memory.
#for I in AL
#if AELEM == 4
var a$I: $A;
#else
var a$I: vec4<f32>;
#endif
#if !POINTWISE
var inside$I: bool;
#endif
#endfor
#for I in BL
var b$I: vec4<f32>;
#endfor
