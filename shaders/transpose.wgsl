// Batched transposition: y[batch, col, row] = x[batch, row, col]. The input gradient of a convolution reads its weights so.
// Grid: x, y = one invocation per element of y folded, in y's order. Bytes: 8 batch rows cols.
struct Params { size: u32, rows: u32, cols: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let row = i % params.rows;
  let col = (i / params.rows) % params.cols;
  let batch = i / (params.rows * params.cols);
  y[i] = x[(batch * params.rows + row) * params.cols + col];
}
