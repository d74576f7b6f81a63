// Moments of what a tile of conv_wide.wgsl has stored, as tiled_moments.wgsl makes them: mean and sum of squared deviations of each column's
// rows, chunk number row0 / TILE_ROWS of moments [2, chunks, all channels]. A lane had eight columns and every ROWS_APART-th row of its
// subgroup's; what each has passes through `tile`, and one invocation for eight columns merges it, around what the first has.
workgroupBarrier();
{
  let n = max(own_rows, 1.0);
  let shift = Floats(own_sum.low / n, own_sum.high / n);
  let at = 4u * (subgroup * ${LANES}u + lane);
  tile[at] = bitcast<vec4<u32>>(origin.low + shift.low);
  tile[at + 1u] = bitcast<vec4<u32>>(origin.high + shift.high);
  tile[at + 2u] = bitcast<vec4<u32>>(max(own_squares.low - own_sum.low * shift.low, vec4<f32>()));
  tile[at + 3u] = bitcast<vec4<u32>>(max(own_squares.high - own_sum.high * shift.high, vec4<f32>()));
}
workgroupBarrier();
{
  // One invocation for four columns: `half` of the eight that a lane had.
  let half = thread % 2u;
  let own = thread / 2u % ROW_LANES;
  let across = thread / (2u * ROW_LANES);
  let eight = col0 + across * ROW_LANES + own;
  if ((across < ${SX}u) & (eight < params.cols)) {
    let left = min(params.rows - row0, TILE_ROWS);
    let first = bitcast<vec4<f32>>(tile[4u * (across * ${LANES}u + own) + half]);
    var sum = vec4<f32>();
    var between = vec4<f32>();
    var within = vec4<f32>();
    #for Y in SY
    for (var q = 0u; q < ROWS_APART; q++) {
      let begin$Y = ${Y}u * (${RM}u * ${MM}u) + q;
      let rows$Y = min((max(left, begin$Y) - begin$Y + ROWS_APART - 1u) / ROWS_APART, ${RM}u * ${MM}u / ROWS_APART);
      let at$Y = 4u * ((${Y}u * ${SX}u + across) * ${LANES}u + q * ROW_LANES + own) + half;
      let d$Y = bitcast<vec4<f32>>(tile[at$Y]) - first;
      let weighted$Y = d$Y * f32(rows$Y);
      sum += weighted$Y;
      between = fma(weighted$Y, d$Y, between);
      within += bitcast<vec4<f32>>(tile[at$Y + 2u]);
    }
    #endfor
    let shift = sum / f32(left);
    let channels = 2u * count.z * params.cols;
    let chunks = (params.rows + TILE_ROWS - 1u) / TILE_ROWS;
    let at = row0 / TILE_ROWS * channels + 2u * (group * params.cols + eight) + half;
    moments[at] = first + shift;
    moments[chunks * channels + at] = within + max(between - sum * shift, vec4<f32>());
  }
}
