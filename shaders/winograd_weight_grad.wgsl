// Winograd F(2 x 2, 3 x 3), the weight gradient's last part: the 16 sums m of a filter and a channel become the nine taps'
// G^T m G (winograd_weights.wgsl has G). BY_FILTER: m lies by filters, and is turned to lie by channels.
// Layout: m [16, filters, channels] or [16, channels, filters], dw [9, channels, filters], filters a multiple of 4. Grid: one invocation
// per channel of four filters; what m has innermost side by side. Bytes: 100 per pair.
struct Params { total: u32, channels: u32, filters: u32 }  // total, filters in vec4
@group(0) @binding(0) var<storage, read> m: array<$M>;
@group(0) @binding(1) var<storage, read_write> dw: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
#include grid

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
  #if BY_FILTER
  let channel = i % params.channels;
  let filters = i / params.channels;
  let first = 4u * filters * params.channels + channel;
  let place = channel * params.filters + filters;
  #else
  let place = i;
  #endif
  #for J in 4
  #for I in 4
  #if BY_FILTER
  let at${I}_$J = (4u * ${I}u + ${J}u) * 4u * params.total + first;
  let m${I}_$J = vec4<f32>(m[at${I}_$J], m[at${I}_$J + params.channels], m[at${I}_$J + 2u * params.channels], m[at${I}_$J + 3u * params.channels]);
  #else
  let m${I}_$J = m[(4u * ${I}u + ${J}u) * params.total + i];
  #endif
  #endfor
  let t0_$J = m0_$J + 0.5 * (m1_$J + m2_$J);
  let t1_$J = 0.5 * (m1_$J - m2_$J);
  let t2_$J = m3_$J + 0.5 * (m1_$J + m2_$J);
  #endfor
  #for I in 3
  dw[3u * ${I}u * params.total + place] = t${I}_0 + 0.5 * (t${I}_1 + t${I}_2);
  dw[(3u * ${I}u + 1u) * params.total + place] = 0.5 * (t${I}_1 - t${I}_2);
  dw[(3u * ${I}u + 2u) * params.total + place] = t${I}_3 + 0.5 * (t${I}_1 + t${I}_2);
  #endfor
}
