// Peak of multiply-add: every invocation advances CHAINS independent chains c = c * factor + term, `iterations` * 8 times
// each, and adds them up so that none can be left out.
// Layout: T is f32 or vec4; y [invocations] of T. Grid: x, y = one invocation per element of y, folded.
// FLOPs: 16 * ELEM * CHAINS * iterations an invocation. Bytes: 4 * ELEM an invocation, next to nothing.
struct Params { size: u32, iterations: u32, factor: f32, term: f32 }
@group(0) @binding(0) var<storage, read_write> y: array<T>;
@group(0) @binding(1) var<uniform> params: Params;
#include grid
#include elem

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_number(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let factor = T(params.factor);
  let term = T(params.term);
  #for C in CHAINS
  var c$C = T(f32(i % 7u) + ${C}.0);
  #endfor
  for (var k = 0u; k < params.iterations; k++) {
    #for STEP in 8
    #for C in CHAINS
    c$C = fma(c$C, factor, term);
    #endfor
    #endfor
  }
  var sum = T(0.0);
  #for C in CHAINS
  sum += c$C;
  #endfor
  y[i] = sum;
}
