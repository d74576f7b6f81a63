// Batch norm of `value`, a T of x: v + rest. Its two readers, batch_norm_apply.wgsl and the masks of its gradient, have to find the same
// side of zero, and so share every operation.
let x_upper = upper(value);
let product = x_upper * scale_upper;
var v = (product + shift) * params.one;
let rest = x_upper * scale_lower + (value - x_upper) * scale + shift_rest + lost(v, product, shift);
