// Batch norm's gradient: dbeta = sum over chunks of partial[0], dgamma = sum over chunks of partial[1], in order; also side by
// side as sums [2, channels], since the second half would bind more than the 8 buffers that every adapter has.
//   WIDE: LY invocations share a channel's chunks, each loads four before it looks at the first, and their sums are added as a tree.
// Grid: one invocation per channel (WIDE: LX channels a workgroup). Bytes: 8 chunks channels.
struct Params { channels: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

#if WIDE
override LX: u32 = 8;
override LY: u32 = 32;  // a power of two
var<workgroup> parts: array<vec2<f32>, LX * LY>;

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let c = id.x * LX + lane.x;
  let read = min(c, params.channels - 1u);
  let last = params.chunks - 1u;
  var sum = vec2<f32>();
  for (var k = lane.y; k <= last; k += 4u * LY) {
    #for I in 4
    let k$I = k + ${I}u * LY;
    let at$I = min(k$I, last) * params.channels + read;
    let part$I = vec2<f32>(partial[at$I], partial[params.chunks * params.channels + at$I]);
    #endfor
    #for I in 4
    sum += select(vec2<f32>(), part$I, k$I <= last);
    #endfor
  }
  let own = lane.y * LX + lane.x;
  parts[own] = sum;
  workgroupBarrier();
  for (var apart = LY / 2u; apart > 0u; apart /= 2u) {
    if (lane.y < apart) { parts[own] += parts[own + apart * LX]; }
    workgroupBarrier();
  }
  if (lane.y > 0u || c >= params.channels) { return; }
  let beta = parts[own].x;
  let gamma = parts[own].y;
#else
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  var beta = 0.0;
  var gamma = 0.0;
  for (var k = 0u; k < params.chunks; k++) {
    beta += partial[k * params.channels + c];
    gamma += partial[(params.chunks + k) * params.channels + c];
  }
#endif
  dbeta[c] = beta;
  dgamma[c] = gamma;
  sums[c] = beta;
  sums[params.channels + c] = gamma;
}
