// Batch norm's gradient: dbeta = sum over chunks of partial[0], dgamma = sum over chunks of partial[1], in order; also side by
// side as sums [2, channels], since the second half would bind more than the 8 buffers that every adapter has.
//   WIDE: LY invocations share a channel's chunks, and the first adds up their sums, in order.
// Grid: one invocation per channel (WIDE: LX channels a workgroup). Bytes: 8 chunks channels.
struct Params { channels: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

#if WIDE
override LX: u32 = 8;
override LY: u32 = 32;
var<workgroup> parts: array<vec2<f32>, LX * LY>;

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let c = id.x * LX + lane.x;
  let first = lane.y;
  let step = LY;
#else
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  let first = 0u;
  let step = 1u;
  if (c >= params.channels) { return; }
#endif
  var beta = 0.0;
  var gamma = 0.0;
  let read = min(c, params.channels - 1u);
  for (var k = first; k < params.chunks; k += step) {
    beta += partial[k * params.channels + read];
    gamma += partial[(params.chunks + k) * params.channels + read];
  }
  #if WIDE
  parts[lane.y * LX + lane.x] = vec2<f32>(beta, gamma);
  workgroupBarrier();
  if (lane.y > 0u || c >= params.channels) { return; }
  for (var y = 1u; y < LY; y++) {
    beta += parts[y * LX + lane.x].x;
    gamma += parts[y * LX + lane.x].y;
  }
  #endif
  dbeta[c] = beta;
  dgamma[c] = gamma;
  sums[c] = beta;
  sums[params.channels + c] = gamma;
}
