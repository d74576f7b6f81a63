// Batch norm's gradient: dbeta = sum over chunks of partial[0], dgamma = sum over chunks of partial[1], in order; also side by
// side as sums [2, channels], since the second half would bind more than the 8 buffers that every adapter has.
// Grid: one invocation per channel; with SHARE = 32 one workgroup per 8 channels, whose chunks are dealt out to 32 lanes each, for
// adapters that have more lanes than there are channels. Bytes: 8 chunks channels.
struct Params { channels: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

#if SHARE
const CHANNELS = 8u;
var<workgroup> shared_sums: array<vec2<f32>, CHANNELS * ${SHARE}u>;

@compute @workgroup_size(CHANNELS * ${SHARE}u)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = lane % CHANNELS;
  let first = lane / CHANNELS;
  const STEP = ${SHARE}u;
  // Lanes past the last channel repeat it, as all of a workgroup come to its barriers.
  let c = min(id.x * CHANNELS + channel, params.channels - 1u);
#else
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  const STEP = 1u;
  let first = 0u;
  let c = id.x;
  if (c >= params.channels) { return; }
#endif
  var beta = 0.0;
  var gamma = 0.0;
  for (var k = first; k < params.chunks; k += STEP) {
    beta += partial[k * params.channels + c];
    gamma += partial[(params.chunks + k) * params.channels + c];
  }
  #if SHARE
  shared_sums[lane] = vec2<f32>(beta, gamma);
  workgroupBarrier();
  if (first > 0u || id.x * CHANNELS + channel >= params.channels) { return; }
  for (var k = 1u; k < ${SHARE}u; k++) {
    beta += shared_sums[k * CHANNELS + channel].x;
    gamma += shared_sums[k * CHANNELS + channel].y;
  }
  #endif
  dbeta[c] = beta;
  dgamma[c] = gamma;
  sums[c] = beta;
  sums[params.channels + c] = gamma;
}
