// What all kernels of conv.wgsl's product share: parameters, bindings, the order of pixels and the epilogue; wants T.
struct Params {
  rows: u32,          // output pixels of one group: images * outH * outW
  rowsPer: u32,       // of one workgroup
  cols: u32,          // output channels of one group, in T
  colTiles: u32,
  inner: u32,         // contiguous elements of a under one tap, as a is loaded
  tapsY: u32, tapsX: u32,   // none: c becomes what 0 does
  outH: u32, outW: u32,
  inH: u32, inW: u32,
  mul: vec2<i32>,     // source (y, x) = out * mul + add + tap * step
  add: vec2<i32>,
  step: vec2<i32>,
  aImage: u32, aRow: u32, aPixel: u32, aGroup: u32,               // strides of a, as it is loaded
  bTap: vec2<u32>, bStart: u32, bStride: u32, bGroup: u32,        // b, in T: tap strides, start, row, group
  cImage: u32, cRow: u32, cPixel: u32, cGroup: u32, cStart: u32,  // strides of c, in T
  relu: u32,
  none: u32,          // 0, which no compiler may know
  #if SPLIT
  groups: u32, slicesPerPart: u32,    // sum_range.wgsl
  #endif
}

@group(0) @binding(0) var<storage, read> a: array<$A>;
@group(0) @binding(1) var<storage, read> b: array<$B>;
@group(0) @binding(2) var<storage, read_write> c: array<$C>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include conv_pixel
#include conv_epilogue
