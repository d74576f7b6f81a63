// Frames maps with zeros: y[n, h, w, c] = x[n, h - top, w - left, c] where that lies inside x, else 0.
// Layout: x [images, height, width, channels], y [images, outHeight, outWidth, channels]. Grid: one invocation per element
// of y. Bytes: 4 written per element of y, 4 read per element of x.
struct Params {
  size: u32, height: u32, width: u32, channels: u32, outHeight: u32, outWidth: u32, top: u32, left: u32
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  // Unsigned: above and left of the map wraps around to far beyond it.
  let h = (pixel / params.outWidth) % params.outHeight - params.top;
  let w = pixel % params.outWidth - params.left;
  let n = pixel / (params.outWidth * params.outHeight);
  var v = 0.0;
  if (h < params.height && w < params.width) { v = x[((n * params.height + h) * params.width + w) * params.channels + c]; }
  y[i] = v;
}
