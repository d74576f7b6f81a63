// The sums leave, a row of matrices of each subgroup at a time. A lane has the same eight columns throughout, of every ROWS_APART-th row; what
// it needs besides is asked for before it is waited for: loads of a whole row of matrices stand before the barrier.
let own_row = lane / ROW_LANES;
let own_column = my_col / 8u + lane % ROW_LANES;
let column = col0 + own_column;
#if WEIGHT_GRAD
let out = id.z % params.splits * params.wSplit + group * params.wGroup + column;
#else
let channel = 2u * (group * params.cols + min(column, params.cols - 1u));
#if BIAS
let added = Floats(bias[channel], bias[channel + 1u]);
#endif
#if AFFINE
let factor = Floats(scale[channel], scale[channel + 1u]);
let added = Floats(shift[channel], shift[channel + 1u]);
#endif
#endif
#if MOMENTS
// Of the lane's columns, as stored: around the first value.
var origin: Floats;
var own_sum: Floats;
var own_squares: Floats;
var own_rows = 0.0;
#endif
#for I in RM
#for Q in ROUNDS
let row${I}_$Q = row0 + my_row + (${I}u * ${MM}u + ${Q}u * ROWS_APART) + own_row;
let wanted${I}_$Q = (row${I}_$Q < params.rows) & (column < params.cols);
#if !WEIGHT_GRAD
let place${I}_$Q = place(row${I}_$Q, id.z) + column;
#if RESIDUAL
let more${I}_$Q = load_residual(select(0u, place${I}_$Q, wanted${I}_$Q));
#endif
#endif
#endfor
workgroupBarrier();
#for J in CN
subgroupMatrixStore<row_major>(&tile, subgroup * PART + ${J}u * (${MN}u / 4u), c${I}_0_$J, PART_ROW);
#endfor
workgroupBarrier();
#for Q in ROUNDS
if (wanted${I}_$Q) {
  let at = subgroup * PART + (${Q}u * ROWS_APART + own_row) * PART_ROW + 2u * (lane % ROW_LANES);
  var value = Floats(bitcast<vec4<f32>>(tile[at]), bitcast<vec4<f32>>(tile[at + 1u]));
  #if WEIGHT_GRAD
  let to = 2u * (out + row${I}_$Q * params.wStride);
  dw[to] = value.low;
  dw[to + 1u] = value.high;
  #else
  #if BIAS
  value.low += added.low;
  value.high += added.high;
  #endif
  #if AFFINE
  value.low = fma(value.low, factor.low, added.low);
  value.high = fma(value.high, factor.high, added.high);
  #endif
  #if RESIDUAL
  value.low += low_of_residual(more${I}_$Q);
  value.high += high_of_residual(more${I}_$Q);
  #endif
  if (params.relu != 0u) {
    value.low = max(value.low, vec4<f32>());
    value.high = max(value.high, vec4<f32>());
  }
  #if HALF_C
  let kept = halves(value.low, value.high);
  c[place${I}_$Q] = kept;
  #else
  c[2u * place${I}_$Q] = value.low;
  c[2u * place${I}_$Q + 1u] = value.high;
  #endif
  #if MOMENTS
  #if HALF_C
  // Compilers (Mesa's) take rounding to halves and back for nothing; they do not know that these are 0.
  let read = kept ^ vec4<u32>(TILE_ROWS ^ params.rowsPer);
  value = Floats(low_of(read), high_of(read));
  #endif
  let first_of = own_rows == 0.0;
  origin.low = select(origin.low, value.low, first_of);
  origin.high = select(origin.high, value.high, first_of);
  let d = Floats(value.low - origin.low, value.high - origin.high);
  own_sum.low += d.low;
  own_sum.high += d.high;
  own_squares.low = fma(d.low, d.low, own_squares.low);
  own_squares.high = fma(d.high, d.high, own_squares.high);
  own_rows += 1.0;
  #endif
  #endif
}
#endfor
#endfor
