// Winograd F(2 x 2, 3 x 3), the weight gradient's second operand: every 2 x 2 square of dy becomes A dy A^T (winograd_output.wgsl
// has A^T), whose 16 numbers go to 16 matrices. BY_FILTER: these lie by filters, as conv_weight_grad_stationary.wgsl wants them;
// else by squares, as for conv_weight_grad_tiled.wgsl.
// Layout: dy [N, height, width, filters], d [16, filters, tiles] or [16, tiles, filters], tiles = N tilesY tilesX; four of the innermost
// side at a time, which is a multiple of 4. Grid: one invocation per vec4 of a matrix, filters side by side.
// Bytes: 4 |dy| + 4 |d|, d having four times as many elements.
struct Params { total: u32, tiles: u32, filters: u32, height: u32, width: u32, tilesY: u32, tilesX: u32 }  // total and the innermost in vec4
#if BY_FILTER
alias L = f32;
#else
alias L = vec4<f32>;
#endif
@group(0) @binding(0) var<storage, read> dy: array<$DY>;
@group(0) @binding(1) var<storage, read_write> d: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include winograd_square

fn load(row: u32, column: u32, at: Square, filter_: u32) -> L {
  let inside = at.top + row < params.height && at.left + column < params.width;
  let place = ((at.image + at.top + row) * params.width + at.left + column) * params.filters + filter_;
  return select(L(), L(dy[select(0u, place, inside)]), inside);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let filter_ = i % params.filters;
  #if BY_FILTER
  let four = i / params.filters;
  #for C in 4
  let at$C = square_of(4u * four + ${C}u);
  #endfor
  #for I in 2
  #for J in 2
  let y${I}_$J = vec4<f32>(load(${I}u, ${J}u, at0, filter_), load(${I}u, ${J}u, at1, filter_), load(${I}u, ${J}u, at2, filter_), load(${I}u, ${J}u, at3, filter_));
  #endfor
  #endfor
  let place = filter_ * params.tiles + four;
  let matrix = params.filters * params.tiles;
  #else
  let at = square_of(i / params.filters);
  #for I in 2
  #for J in 2
  let y${I}_$J = load(${I}u, ${J}u, at, filter_);
  #endfor
  #endfor
  let place = i;
  let matrix = params.total;
  #endif
  #for J in 2
  let t0_$J = y0_$J;
  let t1_$J = y0_$J + y1_$J;
  let t2_$J = y0_$J - y1_$J;
  let t3_$J = -y1_$J;
  #endfor
  #for I in 4
  d[4u * ${I}u * matrix + place] = t${I}_0;
  d[(4u * ${I}u + 1u) * matrix + place] = t${I}_0 + t${I}_1;
  d[(4u * ${I}u + 2u) * matrix + place] = t${I}_0 - t${I}_1;
  d[(4u * ${I}u + 3u) * matrix + place] = -t${I}_1;
  #endfor
}
