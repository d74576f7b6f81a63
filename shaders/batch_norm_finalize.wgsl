// Batch statistics, second half: merges the chunks in order (Chan et al.), and moves the running statistics.
//   stats [2, channels] = mean, 1 / sqrt(var + eps) with the biased variance
//   running = (1 - momentum) * running + momentum * (mean, unbiased variance)
// Grid: one invocation per channel. Bytes: 8 chunks channels read.
struct Params { rows: u32, channels: u32, chunk: u32, chunks: u32, eps: f32, momentum: f32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>;
@group(0) @binding(2) var<storage, read_write> runningMean: array<f32>;
@group(0) @binding(3) var<storage, read_write> runningVar: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  var mean = 0.0;
  var m2 = 0.0;
  var n = 0.0;
  for (var k = 0u; k < params.chunks; k++) {
    let nk = f32(min(params.chunk, params.rows - k * params.chunk));
    let delta = partial[k * params.channels + c] - mean;
    let total = n + nk;
    mean += delta * (nk / total);
    m2 += partial[(params.chunks + k) * params.channels + c] + delta * delta * (n * nk / total);
    n = total;
  }
  stats[c] = mean;
  stats[params.channels + c] = inverseSqrt(m2 / n + params.eps);
  runningMean[c] = mix(runningMean[c], mean, params.momentum);
  // One row has no unbiased variance; the biased one (0) then keeps the statistics finite.
  runningVar[c] = mix(runningVar[c], m2 / max(n - 1.0, 1.0), params.momentum);
}
