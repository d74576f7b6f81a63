// What a convolution does with a finished sum: bias or batch norm (folded), residual sum, ReLU. Operands in T, by output channel
// (`channel`, over all groups) or by element of c (`place`); wants params.relu.
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<T>;
#endif
#if AFFINE
@group(0) @binding(4) var<storage, read> scale: array<T>;
@group(0) @binding(5) var<storage, read> shift: array<T>;
#endif
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<$R>;
#endif

fn finished(sum: T, channel: u32, place: u32) -> T {
  var value = sum;
  #if BIAS
  value += bias[channel];
  #endif
  #if AFFINE
  value = fma(value, scale[channel], shift[channel]);
  #endif
  #if RESIDUAL
  value += T(residual[place]);
  #endif
  if (params.relu != 0u) { value = max(value, T(0.0)); }
  return value;
}
