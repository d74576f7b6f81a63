// Copies runs between two strides: y[o * y_stride + y_start + j] = x[o * x_stride + x_start + j] for j < run: slices
// (runs out of longer rows) and concatenations (runs into longer rows). Bits are copied, so that any dtype will do.
// T is u32 or vec4u; everything counts elements of T. Grid: one invocation per T copied. Bytes: 8 per element.
struct Params { total: u32, run: u32, x_stride: u32, x_start: u32, y_stride: u32, y_start: u32 }
@group(0) @binding(0) var<storage, read> x: array<$T>;
@group(0) @binding(1) var<storage, read_write> y: array<$T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let o = i / params.run;
  let j = i % params.run;
  y[o * params.y_stride + params.y_start + j] = x[o * params.x_stride + params.x_start + j];
}
