// Gradient of global max pooling: dx[n, p, c] = dy[n, c] where p is the position kept by the forward pass, else 0.
// Layout: dx [images, positions, channels]; T is f32 or vec4 along channels (U likewise u32 or vec4u), which counts
// elements of T. Grid: one invocation per T of dx, or, on GPUs, of RUN positions, for which dy and argmax are read once: they have several times the
// bytes of what is written in halves. Bytes: 4 N P C written, 8 N C read.
struct Params { total: u32, positions: u32, channels: u32 }
@group(0) @binding(0) var<storage, read> dy: array<T>;
@group(0) @binding(1) var<storage, read> argmax: array<U>;
@group(0) @binding(2) var<storage, read_write> dx: array<$DX>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let c = i % params.channels;
  let runs = (params.positions + ${RUN}u - 1u) / ${RUN}u;
  let image = i / params.channels / runs;
  let first = i / params.channels % runs * ${RUN}u;
  let pooled = image * params.channels + c;
  let g = dy[pooled];
  let kept = argmax[pooled];
  #for I in RUN
  if (first + ${I}u < params.positions) {
    dx[(image * params.positions + first + ${I}u) * params.channels + c] = $DX(select(T(), g, kept == U(first + ${I}u)));
  }
  #endfor
}
