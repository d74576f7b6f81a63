// What conv_weight_grad_tiled.wgsl and conv_weight_grad_matrix.wgsl share: parameters, bindings, how operands are read and dw written.
#include tiled_operands

struct Params {
  rows: u32,             // taps * inner, in floats
  cols: u32,             // output channels of one group, in T
  colTiles: u32,
  inner: u32,            // contiguous floats under one tap
  tapsX: u32,
  pixels: u32,           // images * outH * outW
  pixelsPerSplit: u32,   // whole slices of KT
  splits: u32,
  outH: u32, outW: u32,
  inH: u32, inW: u32,
  advance: vec3<u32>,    // KT pixels as (images, rows, columns)
  stride: vec2<i32>,
  pad: vec2<i32>,
  xImage: u32, xRow: u32, xPixel: u32, xGroup: u32,      // strides of x, in floats
  dPixel: u32, dGroup: u32,                              // strides of dy, in T
  wStride: u32, wGroup: u32, wSplit: u32,                // strides of dw, in T
}

@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> b: array<$DY>;
@group(0) @binding(2) var<storage, read_write> dw: array<T>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include conv_pixel

#if AELEM == 4
alias LoadedA = $X;
#else
alias LoadedA = vec4<$X>;
#endif
#if ELEM == 4
alias LoadedB = $DY;
#else
alias LoadedB = vec4<$DY>;
#endif
#include tiled_columns

/** What a row of dw reads of x: from the pixel's place (y, x) on, and how many floats further. */
struct Row { y: i32, x: i32, at: u32 }

fn row_at(row: u32, group: u32) -> Row {
  let r = min(row, params.rows - 1u);
  let tap = r / params.inner;
  return Row(i32(tap / params.tapsX) - params.pad.x, i32(tap % params.tapsX) - params.pad.y, r % params.inner + group * params.xGroup);
}

/** Where in x a row of dw finds what it takes from a pixel, and whether it is anywhere: not outside of the picture, nor unless `kept`. */
struct Source { at: u32, inside: bool }

fn source(p: Pixel, number: u32, row: Row, kept: bool) -> Source {
  #if POINTWISE
  return Source((select(0u, number, kept) * params.xPixel + row.at) / ${AELEM}u, kept);
  #else
  let y = u32(i32(p.y) * params.stride.x + row.y);
  let at = u32(i32(p.x) * params.stride.y + row.x);
  let inside = kept && y < params.inH && at < params.inW;
  let start = select(0u, p.image * params.xImage + y * params.xRow + at * params.xPixel, inside);
  return Source((start + row.at) / ${AELEM}u, inside);
  #endif
}

fn advanced(p: Pixel) -> Pixel {
  var q = Pixel(p.image + params.advance.x, p.y + params.advance.y, p.x + params.advance.z);
  if (q.x >= params.outW) { q.x -= params.outW; q.y++; }
  if (q.y >= params.outH) { q.y -= params.outH; q.image++; }
  return q;
}

/** Stores four columns, vec4 number `column` of row `to` of the dw that starts at `out`, as far as there are so many. */
fn store_row(out: u32, to: u32, column: u32, sum: vec4<f32>) {
  #if ELEM == 4
  if (column < params.cols) { dw[out + to * params.wStride + column] = sum; }
  #else
  #for D in 4
  if (4u * column + ${D}u < params.cols) { dw[out + to * params.wStride + 4u * column + ${D}u] = sum[$D]; }
  #endfor
  #endif
}
