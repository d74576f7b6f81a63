// Max pooling: y[n, i, j, c] = max over the k x k window of x[n, i stride - pad + u, j stride - pad + v, c] inside the map,
// and its position (row * width + column) in the map: the first on a tie.
// Layout: NHWC; T is f32 or vec4 along channels (U likewise u32 or vec4u); channels counts elements of T.
// Grid: one invocation per T of y. Bytes: 4 read per element of x (windows overlap in cache), 8 written per element of y.
struct Params {
  total: u32, channels: u32, height: u32, width: u32, outHeight: u32, outWidth: u32, k: u32, stride: u32, pad: u32
}
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<$Y>;
@group(0) @binding(2) var<storage, read_write> argmax: array<U>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let row = (pixel / params.outWidth) % params.outHeight;
  let column = pixel % params.outWidth;
  let image = pixel / (params.outWidth * params.outHeight) * params.height;

  // The window without its padding, in coordinates shifted by pad to stay unsigned.
  let top = max(row * params.stride, params.pad) - params.pad;
  let left = max(column * params.stride, params.pad) - params.pad;
  let bottom = min(row * params.stride + params.k - params.pad, params.height);
  let right = min(column * params.stride + params.k - params.pad, params.width);
  var best = T(x[((image + top) * params.width + left) * params.channels + c]);
  var where_best = U(top * params.width + left);
  for (var h = top; h < bottom; h++) {
    for (var w = left; w < right; w++) {
      let v = T(x[((image + h) * params.width + w) * params.channels + c]);
      let better = v > best;
      best = select(best, v, better);
      where_best = select(where_best, U(h * params.width + w), better);
    }
  }
  y[i] = $Y(best);
  argmax[i] = where_best;
}
