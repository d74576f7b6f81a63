// Winograd F(2 x 2, 3 x 3), the input's part: every 4 x 4 square d of x (two pixels apart, in a frame of zeros one pixel wide)
// becomes B^T d B, whose 16 numbers go to 16 matrices.
//   B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]
// Layout: x [N, height, width, channels], v [16, N tilesY tilesX, channels]. Grid: one invocation per T of channels of a square.
// Bytes: 4 |x| + 4 |v|, where v has four times as many elements.
#include elem
struct Params { total: u32, channels: u32, height: u32, width: u32, tilesY: u32, tilesX: u32 }  // total, channels in T
@group(0) @binding(0) var<storage, read> x: array<$X>;
@group(0) @binding(1) var<storage, read_write> v: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid
#include winograd_square

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  let channel = i % params.channels;
  let at = square_of(i / params.channels);
  // Row and column one up and to the left; what wraps around below 0 is outside as well.
  #for J in 4
  let column$J = at.left + ${J}u - 1u;
  #endfor
  #for I in 4
  let row$I = at.top + ${I}u - 1u;
  let start$I = (at.image + row$I) * params.width;
  #for J in 4
  let in${I}_$J = row$I < params.height && column$J < params.width;
  let d${I}_$J = select(T(0.0), T(x[select(0u, (start$I + column$J) * params.channels + channel, in${I}_$J)]), in${I}_$J);
  #endfor
  #endfor
  #for J in 4
  let t0_$J = d0_$J - d2_$J;
  let t1_$J = d1_$J + d2_$J;
  let t2_$J = d2_$J - d1_$J;
  let t3_$J = d1_$J - d3_$J;
  #endfor
  #for I in 4
  v[4u * ${I}u * params.total + i] = t${I}_0 - t${I}_2;
  v[(4u * ${I}u + 1u) * params.total + i] = t${I}_1 + t${I}_2;
  v[(4u * ${I}u + 2u) * params.total + i] = t${I}_2 - t${I}_1;
  v[(4u * ${I}u + 3u) * params.total + i] = t${I}_1 - t${I}_3;
  #endfor
}
