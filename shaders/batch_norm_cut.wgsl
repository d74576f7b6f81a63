// What batch_norm_scale.wgsl and batch_norm_value.wgsl are made of; wants elem_u32.wgsl.

// The upper 12 of a number's 24 bits.
fn upper(v: T) -> T { return bitcast<T>(bitcast<U>(v) & U(0xfffff000u)); }

// What rounding took from sum = a + b.
fn lost(sum: T, a: T, b: T) -> T {
  let added = sum - a;
  return (a - (sum - added)) + (b - added);
}
