// Gradient of max pooling, as a gather: dx[n, h, w, c] = sum of dy[n, i, j, c] over the windows (i, j), in order, whose
// maximum is at (h, w).
// Layout: NHWC; T is f32 or vec4 along channels (U likewise u32 or vec4u); channels counts elements of T.
// Grid: one invocation per T of dx. Bytes: 4 written per element of dx, 8 read per element of dy.
struct Params {
  total: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32, k: u32, stride: u32, pad: u32
}
@group(0) @binding(0) var<storage, read> dy: array<$DY>;
@group(0) @binding(1) var<storage, read> argmax: array<U>;
@group(0) @binding(2) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

// First window that covers a coordinate (already shifted by pad).
fn first_window(at: u32) -> u32 {
  if (at < params.k) { return 0u; }
  return (at - params.k) / params.stride + 1u;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let h = (pixel / params.width) % params.height;
  let w = pixel % params.width;
  let image = pixel / (params.width * params.height) * params.outHeight;
  let here = U(h * params.width + w);
  let bottom = min((h + params.pad) / params.stride + 1u, params.outHeight);
  let right = min((w + params.pad) / params.stride + 1u, params.outWidth);
  var sum = T();
  for (var row = first_window(h + params.pad); row < bottom; row++) {
    for (var column = first_window(w + params.pad); column < right; column++) {
      let at = ((image + row) * params.outWidth + column) * params.channels + c;
      sum += select(T(), T(dy[at]), argmax[at] == here);
    }
  }
  dx[i] = $DX(sum);
}
