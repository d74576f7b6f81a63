// Finishes and stores what an invocation of conv_tiled.wgsl made: as store_columns does, but what belongs to columns is loaded once for
// all rows.
#for I in TM
let row_of$I = row0 + ${I}u * LY + lane.y;
#endfor
#if POINTWISE
#for I in TM
let out$I = place_of(row_of$I, id.z);
#endfor
#else
#for I in TM
var out$I = params.cStart + row_of$I * params.cPixel + id.z * params.cGroup;
#endfor
// Only rows of a part of c, such as every second pixel, do not follow each other; the divisions take as long as a slice.
if (params.cRow != params.outW * params.cPixel || params.cImage != params.outH * params.cRow) {
  #for I in TM
  out$I = place_of(row_of$I, id.z);
  #endfor
}
#endif
#for J in TV
{
  let column = col0 + ${J}u * LX + lane.x;
  #if ELEM == 4
  if (column < params.cols) {
    let channel = group * params.cols + column;
    #if BIAS
    let added = bias[channel];
    #endif
    #if AFFINE
    let factor = scale[channel];
    let added = shift[channel];
    #endif
    #for I in TM
    if (row_of$I < params.rows) {
      var value = c${I}_$J;
      #if BIAS
      value += added;
      #endif
      #if AFFINE
      value = fma(value, factor, added);
      #endif
      #if RESIDUAL
      value += vec4<f32>(residual[out$I + column]);
      #endif
      let kept = ${C}(select(value, max(value, vec4<f32>()), params.relu != 0u));
      c[out$I + column] = kept;
      #if MOMENTS
      c${I}_$J = as_read(kept, LY * ${TM}u);
      #endif
    }
    #endfor
  }
  #else
  #for I in TM
  if (row_of$I < params.rows) { store_columns(out$I, group, column, c${I}_$J); }
  #endfor
  #endif
}
#endfor
