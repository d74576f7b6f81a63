// Weight gradient of a convolution as implicit GEMM over pixels, without workgroup memory:
//   dw[tap, i, col] = sum over output pixels (image, y, x) of x[source(pixel, tap) * channels + i] * dy[pixel, col]
// The long reduction over `lines` (image rows) is split; split s writes its own partial sums, which sum_partials adds in
// fixed order. Each invocation makes TM input channels of one tap x TV output channels of type T; x is read as scalars
// that all lanes share, dy as T, lanes side by side. Where the last tile of channels would stick out it is moved back and
// repeats some, so that no load is out of range. Grid: tiles folded into x and y; z = group * splits + split.
// FLOPs: 2 * taps * inner * cols * pixels. Bytes at least: 4 (|x| + |dy| + splits * |dw|).
#include elem

struct Params {
  cols: u32,             // output channels of one group, in T
  colTiles: u32,
  inner: u32,            // contiguous floats under one tap
  innerTiles: u32,       // ceil(inner / TM)
  units: u32,            // taps * innerTiles
  tapsX: u32,
  lines: u32,            // images * outH
  linesPerSplit: u32,
  splits: u32,
  outH: u32, outW: u32,
  pixels: u32,           // line * outW + x must stay below it (a ragged last line)
  inH: u32, inW: u32,
  stride: vec2<i32>,
  pad: vec2<i32>,
  xImage: u32, xRow: u32, xPixel: u32, xGroup: u32,      // strides of x, in floats
  dImage: u32, dRow: u32, dPixel: u32, dGroup: u32,      // strides of dy, in T
  wStride: u32, wGroup: u32, wSplit: u32,                // strides of dw, in T
}

override LX: u32 = 8;
override LY: u32 = 2;

@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> dy: array<$DY>;
@group(0) @binding(2) var<storage, read_write> dw: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

fn ceil_div(a: i32, b: i32) -> i32 { return (a + b - 1) / b; }

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let tile = workgroup_number(id, count);
  let group = id.z / params.splits;
  let split = id.z % params.splits;
  let unit = (tile / params.colTiles) * LY + lane.y;
  let first_col = (tile % params.colTiles) * (LX * ${TV}u) + lane.x;
  if (unit >= params.units) { return; }
  let tap = unit / params.innerTiles;
  let i0 = min((unit % params.innerTiles) * ${TM}u, params.inner - ${TM}u);
  let ty = i32(tap / params.tapsX);
  let tx = i32(tap % params.tapsX);

  let last_col = params.cols - 1u;
  #for J in TV
  let col$J = min(first_col + ${J}u * LX, last_col);
  #endfor
  #for I in TM
  #for J in TV
  var c${I}_${J} = T(0.0);
  #endfor
  #endfor

  // Columns of the picture whose source under this tap lies inside.
  let shift = tx - params.pad.y;
  let from_x = max(0, ceil_div(max(-shift, 0), params.stride.y));
  let past_x = min(i32(params.outW), (i32(params.inW) - 1 - shift + params.stride.y) / params.stride.y);

  let end = min((split + 1u) * params.linesPerSplit, params.lines);
  for (var line = split * params.linesPerSplit; line < end; line++) {
    let image = line / params.outH;
    let y = line % params.outH;
    let source_y = i32(y) * params.stride.x - params.pad.x + ty;
    let until = min(past_x, i32(params.pixels) - i32(line * params.outW));
    if (source_y < 0 || source_y >= i32(params.inH) || until <= from_x) { continue; }
    var a = image * params.xImage + u32(source_y) * params.xRow + u32(from_x * params.stride.y + shift) * params.xPixel
      + group * params.xGroup + i0;
    var d = image * params.dImage + y * params.dRow + u32(from_x) * params.dPixel + group * params.dGroup;
    for (var ox = from_x; ox < until; ox++) {
      #for J in TV
      let d$J = T(dy[d + col$J]);
      #endfor
      #for I in TM
      let v$I = T(f32(x[a + ${I}u]));
      #for J in TV
      c${I}_${J} = fma(v$I, d$J, c${I}_${J});
      #endfor
      #endfor
      a += u32(params.stride.y) * params.xPixel;
      d += params.dPixel;
    }
  }

  let out = split * params.wSplit + group * params.wGroup + (tap * params.inner + i0) * params.wStride;
  #for J in TV
  if (first_col + ${J}u * LX <= last_col) {
    #for I in TM
    dw[out + ${I}u * params.wStride + col$J] = c${I}_${J};
    #endfor
  }
  #endfor
}
