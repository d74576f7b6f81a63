// Frames maps with zeros: y[n, h, w, c] = x[n, h - top, w - left, c] where that lies inside x, else 0.
// Layout: x [images, height, width, channels], y [images, outHeight, outWidth, channels]. Grid: one invocation per pixel
// of y, as there are few channels. Bytes: 4 written per element of y, 4 read per element of x.
struct Params {
  pixels: u32, height: u32, width: u32, channels: u32, outHeight: u32, outWidth: u32, top: u32, left: u32
}
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<$X>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let pixel = workgroup_number(id, count) * 64u + lane;
  if (pixel >= params.pixels) { return; }
  // Unsigned: above and left of the map wraps around to far beyond it.
  let row = pixel / params.outWidth;
  let h = row % params.outHeight - params.top;
  let w = pixel % params.outWidth - params.left;
  let n = row / params.outHeight;
  let inside = h < params.height && w < params.width;
  let source = select(0u, ((n * params.height + h) * params.width + w) * params.channels, inside);
  for (var c = 0u; c < params.channels; c++) {
    y[pixel * params.channels + c] = select($X(0.0), x[source + c], inside);
  }
}
