// How many gradients are not finite: counts[i] = those among the vec4s i, i + counters, i + 2 counters, ...
// Parameters lie 256 bytes apart, and what is between them is nobody's: of the b-th 64 floats the first lengths[b] count.
// Looked at as bits, since compilers may take floats to be finite. Grid: one invocation per count. Bytes: 4 per gradient.
//   SHARED: a count is a workgroup's, whose invocations look at four vec4s at once: one that walks over thousands of them by itself
//   waits for each. Counts are whole numbers, so that the order in which they join is nobody's concern.
struct Params { vectors: u32, counters: u32 }  // counters = counts, whoever makes them
@group(0) @binding(0) var<storage, read> grads: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid

const EXPONENT = vec4<u32>(0x7f800000u);

fn not_finite(bits: vec4<u32>, v: u32, length: u32) -> vec4<u32> {
  let counted = vec4<u32>(v % 16u * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(length);
  return select(vec4<u32>(0u), vec4<u32>(1u), counted & ((bits & EXPONENT) == EXPONENT));
}

#if SHARED
const LANES = 256u;
var<workgroup> total: atomic<u32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count);
  var found = vec4<u32>(0u);
  let last = params.vectors - 1u;
  for (var v = i * 4u * LANES + lane; v < params.vectors; v += params.counters * 4u * LANES) {
    #for I in 4
    let v$I = v + ${I}u * LANES;
    let bits$I = grads[min(v$I, last)];
    let length$I = lengths[min(v$I, last) / 16u];
    #endfor
    #for I in 4
    found += not_finite(bits$I, v$I, select(0u, length$I, v$I <= last));
    #endfor
  }
  let own = found.x + found.y + found.z + found.w;
  // Nothing else sets it to 0 (gpu/device.ts).
  if (lane == 0u) { atomicStore(&total, 0u); }
  workgroupBarrier();
  if (own > 0u) { atomicAdd(&total, own); }
  workgroupBarrier();
  if (lane == 0u && i < params.counters) { counts[i] = f32(atomicLoad(&total)); }
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.counters) { return; }
  var found = vec4<u32>(0u);
  for (var v = i; v < params.vectors; v += params.counters) {
    found += not_finite(grads[v], v, lengths[v / 16u]);
  }
  counts[i] = f32(found.x + found.y + found.z + found.w);
}
#endif
