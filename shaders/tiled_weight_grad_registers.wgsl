// What a slice of conv_weight_grad_tiled.wgsl passes through on its way to workgroup memory.
#for I in AL
#if AELEM == 4
var a$I: $X;
#else
var a$I: vec4<f32>;
#endif
var kept$I = Kept(true);
#endfor
#for I in BL
#if ELEM == 4
var b$I: $DY;
#else
var b$I: vec4<f32>;
#endif
#endfor
