// Winograd F(2 x 2, 3 x 3), the weights' part: u = G g G^T for the nine taps g of every pair of channel and filter.
//   G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1]
// The input gradient turns the taps around (flip).
// Layout: w [9, size], u [16, size], size = channels x filters in T. Grid: one invocation per T. Bytes: 100 per element of T's.
#include elem
struct Params { size: u32, flip: u32 }
@group(0) @binding(0) var<storage, read> w: array<T>;
@group(0) @binding(1) var<storage, read_write> u: array<T>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  #for I in 3
  #for J in 3
  let g${I}_$J = w[select(3u * ${I}u + ${J}u, 8u - 3u * ${I}u - ${J}u, params.flip != 0u) * params.size + i];
  #endfor
  #endfor
  #for J in 3
  let t0_$J = g0_$J;
  let t1_$J = 0.5 * ((g0_$J + g2_$J) + g1_$J);
  let t2_$J = 0.5 * ((g0_$J + g2_$J) - g1_$J);
  let t3_$J = g2_$J;
  #endfor
  #for I in 4
  u[4u * ${I}u * params.size + i] = t${I}_0;
  u[(4u * ${I}u + 1u) * params.size + i] = 0.5 * ((t${I}_0 + t${I}_2) + t${I}_1);
  u[(4u * ${I}u + 2u) * params.size + i] = 0.5 * ((t${I}_0 + t${I}_2) - t${I}_1);
  u[(4u * ${I}u + 3u) * params.size + i] = t${I}_2;
  #endfor
}
