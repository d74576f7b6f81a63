// Broadcasting arithmetic: y = ka a + kb b (OP == add) or y = a b (OP == mul).
// The common shape is merged into four axes, sizes[0] (outermost) to sizes[3]; an operand that is broadcast along an
// axis has stride 0 there. T is f32 or vec4 along the innermost axis; an operand that is constant along it is bound as
// a scalar and spread over the lanes. A, B, Y: as they are stored, f32 or f16, or vec4 of them. Sizes and strides count elements of T, or of the operand's own type. SAME: nothing is
// broadcast, which saves the divisions.
// Grid: one invocation per T of y. Bytes: 4 written per element, each operand read once or from cache.
struct Params { total: u32, sizes: vec4<u32>, aStrides: vec4<u32>, bStrides: vec4<u32>, ka: f32, kb: f32 }
@group(0) @binding(0) var<storage, read> a: array<$A>;
@group(0) @binding(1) var<storage, read> b: array<$B>;
@group(0) @binding(2) var<storage, read_write> y: array<$Y>;
@group(0) @binding(3) var<uniform> params: Params;
#include grid
#include elem

fn position(i: u32) -> vec4u {
  let n = params.sizes;
  let rows = i / n.w;
  let planes = rows / n.z;
  return vec4u(planes / n.y, planes % n.y, rows % n.z, i % n.w);
}

fn offset(at: vec4u, strides: vec4u) -> u32 {
  return at.x * strides.x + at.y * strides.y + at.z * strides.z + at.w * strides.w;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.total) { return; }
#if SAME
  let u = T(a[i]);
  let v = T(b[i]);
#else
  let at = position(i);
  #if A == f16
  let u = T(f32(a[offset(at, params.aStrides)]));
  #else
  let u = T(a[offset(at, params.aStrides)]);
  #endif
  #if B == f16
  let v = T(f32(b[offset(at, params.bStrides)]));
  #else
  let v = T(b[offset(at, params.bStrides)]);
  #endif
#endif
#if OP == add
  y[i] = $Y(params.ka * u + params.kb * v);
#else
  y[i] = $Y(u * v);
#endif
}
