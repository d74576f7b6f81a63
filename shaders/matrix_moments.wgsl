// Moments of what a tile of conv_matrix.wgsl has stored, as tiled_moments.wgsl makes them, of the columns that just left. A lane had one column
// (ops/conv-matrix.ts sees to it) and every `apart`-th of its subgroup's rows, from row lane / (PART_ROW - 2) on. What each of them has
// passes through tile_c, and one invocation a column merges it, around what the first has.
{
  let n = max(own_rows, 1.0);
  let shift = own_sum / n;
  tile_c[subgroup * PART + lane] = origin + shift;
  tile_c[subgroup * PART + lanes + lane] = max(own_squares - own_sum * shift, vec4<f32>());
  own_rows = 0.0;
  own_sum = vec4<f32>();
  own_squares = vec4<f32>();
}
workgroupBarrier();
{
  let across = thread / (PART_ROW - 2u);
  let own = thread % (PART_ROW - 2u);
  let column = col0 + (across * ${RG}u + ${G}u) * (PART_ROW - 2u) + own;
  if ((across < ${SX}u) & (column < params.cols)) {
    let left = min(params.rows - row0, TILE_ROWS);
    let apart = lanes / (PART_ROW - 2u);
    let first = tile_c[across * PART + own];
    var sum = vec4<f32>();
    var between = vec4<f32>();
    var within = vec4<f32>();
    #for Y in SY
    for (var q = 0u; q < apart; q++) {
      let from$Y = ${Y}u * (${RM}u * ${MM}u) + q;
      let rows$Y = min((max(left, from$Y) - from$Y + apart - 1u) / apart, ${RM}u * ${MM}u / apart);
      let at$Y = (${Y}u * ${SX}u + across) * PART + q * (PART_ROW - 2u) + own;
      let d$Y = tile_c[at$Y] - first;
      let weighted$Y = d$Y * f32(rows$Y);
      sum += weighted$Y;
      between = fma(weighted$Y, d$Y, between);
      within += tile_c[at$Y + lanes];
    }
    #endfor
    let shift = sum / f32(left);
    let channels = count.z * params.cols;
    let chunks = (params.rows + TILE_ROWS - 1u) / TILE_ROWS;
    let at = row0 / TILE_ROWS * channels + group * params.cols + column;
    moments[at] = first + shift;
    moments[chunks * channels + at] = within + max(between - sum * shift, vec4<f32>());
  }
}
workgroupBarrier();
