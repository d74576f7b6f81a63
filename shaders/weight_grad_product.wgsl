// What the kernels for weight gradients on GPUs share: parameters and bindings; wants T.
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
