// Winograd F(2 x 2, 3 x 3), the output's part: the 16 numbers m of a square and a filter become its 2 x 2 outputs A^T m A,
// with the convolution's epilogue.
//   A^T = [1 1 1 0; 0 1 -1 -1]
// Layout: m [16, N tilesY tilesX, filters], y [N, height, width, filters]. Grid: one invocation per T of filters of a square.
// Bytes: 4 |m| + 4 |y|, where m has four times as many elements.
#include elem
struct Params { total: u32, filters: u32, height: u32, width: u32, tilesY: u32, tilesX: u32, relu: u32 }  // total, filters in T
@group(0) @binding(0) var<storage, read> m: array<T>;
@group(0) @binding(1) var<storage, read_write> y: array<$Y>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include winograd_square
#include conv_epilogue

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let filter_ = i % params.filters;
  let at = square_of(i / params.filters);
  #for J in 4
  #for I in 4
  let m${I}_$J = m[(4u * ${I}u + ${J}u) * params.total + i];
  #endfor
  let s0_$J = (m0_$J + m1_$J) + m2_$J;
  let s1_$J = (m1_$J - m2_$J) - m3_$J;
  #endfor
  #for I in 2
  if (at.top + ${I}u < params.height) {
    let start$I = ((at.image + at.top + ${I}u) * params.width + at.left) * params.filters + filter_;
    y[start$I] = $Y(finished((s${I}_0 + s${I}_1) + s${I}_2, filter_, start$I));
    if (at.left + 1u < params.width) {
      let next$I = start$I + params.filters;
      y[next$I] = $Y(finished((s${I}_1 - s${I}_2) - s${I}_3, filter_, next$I));
    }
  }
  #endfor
}
