// Moments of what a tile of conv_tiled.wgsl has stored, by column: mean and sum of squared deviations of its rows, chunk number
// row0 / (LY * TM) of moments [2, chunks, all channels]. An invocation's own rows are summed around its first one, and their deviations
// around their mean; LX invocations then merge what LY have of a column, around what the first has, so that differences cancel next to nothing.
// They pass through tile_a and tile_b, which have room for one vec4 an invocation, and which nobody reads any more.
let left = min(params.rows - row0, LY * ${TM}u);
let own = max(1.0, f32((left + LY - 1u - lane.y) / LY));
let chunk = row0 / (LY * ${TM}u);
let chunks = (params.rows + LY * ${TM}u - 1u) / (LY * ${TM}u);
#for J in TV
{
  var mean = vec4<f32>();
  #for I in TM
  let d$I = select(vec4<f32>(), c${I}_$J - c0_$J, row_of$I < params.rows);
  mean += d$I;
  #endfor
  mean /= own;
  var squares = vec4<f32>();
  #for I in TM
  let e$I = select(vec4<f32>(), d$I - mean, row_of$I < params.rows);
  squares = fma(e$I, e$I, squares);
  #endfor
  #if J
  workgroupBarrier();
  #endif
  tile_a[thread] = c0_$J + mean;
  tile_b[thread] = squares;
}
workgroupBarrier();
{
  let column = col0 + ${J}u * LX + lane.x;
  if ((lane.y == 0u) & (column < params.cols)) {
    let origin = tile_a[lane.x];
    var sum = vec4<f32>();
    var between = vec4<f32>();
    var within = vec4<f32>();
    for (var y = 0u; y < LY; y++) {
      let d = tile_a[y * LX + lane.x] - origin;
      let weighted = d * f32((left + LY - 1u - y) / LY);
      sum += weighted;
      between = fma(weighted, d, between);
      within += tile_b[y * LX + lane.x];
    }
    let shift = sum / f32(left);
    let channels = count.z * params.cols;
    let at = chunk * channels + group * params.cols + column;
    moments[at] = origin + shift;
    moments[chunks * channels + at] = within + max(between - sum * shift, vec4<f32>());
  }
}
#endfor
