// Batched transposition: y[batch, col, row] = x[batch, row, col]. The input gradient of a convolution reads its weights so.
// Layout: T is f32 or vec4; an invocation moves a square of ELEM x ELEM floats, as vec4 where rows and cols are whole
// numbers of them. Params count in T. Grid: x, y = one invocation per square folded, along the rows first, in y's order.
//   BLOCK: a workgroup takes BLOCK x BLOCK squares, so that what it reads is whole lines of memory as what it writes is. Along the rows
//   alone a GPU reads a line for every lane. 0 for none.
// Bytes: 8 batch rows cols.
struct Params { size: u32, rows: u32, cols: u32 }  // size = squares
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> y: array<$X>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include elem

#if BLOCK
const BLOCK = ${BLOCK}u;

@compute @workgroup_size(BLOCK * BLOCK)
#else
@compute @workgroup_size(64)
#endif
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  #if BLOCK
  let block = workgroup_number(id, count);
  let down = (params.rows + BLOCK - 1u) / BLOCK;
  let across = (params.cols + BLOCK - 1u) / BLOCK;
  let row = block % down * BLOCK + lane % BLOCK;
  let col = block / down % across * BLOCK + lane / BLOCK;
  let batch = block / (down * across);
  if (row >= params.rows || col >= params.cols || batch * params.rows * params.cols >= params.size) { return; }
  #else
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let row = i % params.rows;
  let col = (i / params.rows) % params.cols;
  let batch = i / (params.rows * params.cols);
  #endif
  let x0 = (batch * params.rows + row) * ${ELEM}u * params.cols + col;
  let y0 = (batch * params.cols + col) * ${ELEM}u * params.rows + row;
  #if ELEM == 4
  let square = transpose(mat4x4f(T(x[x0]), T(x[x0 + params.cols]), T(x[x0 + 2u * params.cols]), T(x[x0 + 3u * params.cols])));
  y[y0] = $X(square[0]);
  y[y0 + params.rows] = $X(square[1]);
  y[y0 + 2u * params.rows] = $X(square[2]);
  y[y0 + 3u * params.rows] = $X(square[3]);
  #else
  y[y0] = x[x0];
  #endif
}
