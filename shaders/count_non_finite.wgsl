// How many gradients are not finite: counts[i] = those among the vec4s i, i + invocations, i + 2 invocations, ...
// Parameters lie 256 bytes apart, and what is between them is nobody's: of the b-th 64 floats the first lengths[b] count.
// Looked at as bits, since compilers may take floats to be finite. Grid: one invocation per count. Bytes: 4 per gradient.
struct Params { vectors: u32, invocations: u32 }
@group(0) @binding(0) var<storage, read> grads: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

const EXPONENT = vec4<u32>(0x7f800000u);

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.invocations) { return; }
  var found = vec4<u32>(0u);
  for (var v = i; v < params.vectors; v += params.invocations) {
    let counted = vec4<u32>(v % 16u * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(lengths[v / 16u]);
    found += select(vec4<u32>(0u), vec4<u32>(1u), counted & ((grads[v] & EXPONENT) == EXPONENT));
  }
  counts[i] = f32(found.x + found.y + found.z + found.w);
}
