// Bilinear crop-resize: y[n, i, j, c] = the crop of x[n] given by boxes[n] = (top, left, bottom, right), sampled by crop_tap.
// Layout: NHWC; T is f32 or vec4 along channels, which counts elements of T. Grid: one invocation per T of y.
// Bytes: 16 read (from cache, mostly) and 4 written per element of y. FLOPs: 9 per element.
struct Params { total: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32 }
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<$Y>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include crop_tap

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let n = pixel / (params.outWidth * params.outHeight);
  let box = boxes[n];
  let v = crop_tap((pixel / params.outWidth) % params.outHeight, box.x, box.z, params.outHeight, params.height);
  let h = crop_tap(pixel % params.outWidth, box.y, box.w, params.outWidth, params.width);
  let low = (n * params.height + v.low) * params.width;
  let high = (n * params.height + v.high) * params.width;
  let upper = mix(T(x[(low + h.low) * params.channels + c]), T(x[(low + h.high) * params.channels + c]), h.high_share);
  let lower = mix(T(x[(high + h.low) * params.channels + c]), T(x[(high + h.high) * params.channels + c]), h.high_share);
  y[i] = $Y(mix(upper, lower, v.high_share));
}
