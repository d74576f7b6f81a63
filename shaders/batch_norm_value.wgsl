// Batch norm of `value`, a T of x: v + rest, of column P. Its two readers, batch_norm_apply.wgsl and the masks of its gradient, have to find the
// same side of zero, and so share every operation.
let x_upper$P = upper(value$P);
let product$P = x_upper$P * scale_upper$P;
var v$P = (product$P + shift$P) * params.one;
let rest$P = x_upper$P * scale_lower$P + (value$P - x_upper$P) * scale$P + shift_rest$P + lost(v$P, product$P, shift$P);
