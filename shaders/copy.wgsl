// Copies runs between two strides: y[o * yStride + yStart + j] = x[o * xStride + xStart + j] for j < run: slices
// (runs out of longer rows) and concatenations (runs into longer rows). Bits are copied, so that any dtype will do.
// U is u32 or vec4u; everything counts elements of U. Grid: one invocation per U copied. Bytes: 8 per element.
struct Params { total: u32, run: u32, xStride: u32, xStart: u32, yStride: u32, yStart: u32 }
@group(0) @binding(0) var<storage, read> x: array<U>;
@group(0) @binding(1) var<storage, read_write> y: array<U>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem_u32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let o = i / params.run;
  let j = i % params.run;
  y[o * params.yStride + params.yStart + j] = x[o * params.xStride + params.xStart + j];
}
