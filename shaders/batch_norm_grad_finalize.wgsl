// Batch norm's gradient: dbeta = sum over chunks of partial[0], dgamma = sum over chunks of partial[1], in order; also side by
// side as sums [2, channels], since the second half would bind more than the 8 buffers that every adapter has.
// Grid: one invocation per channel. Bytes: 8 chunks channels.
struct Params { channels: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> dgamma: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbeta: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

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
  dbeta[c] = beta;
  dgamma[c] = gamma;
  sums[c] = beta;
  sums[params.channels + c] = gamma;
}
