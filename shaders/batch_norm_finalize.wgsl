// Batch statistics, second half: merges the chunks in order, and moves the running statistics.
//   mean = m0 + sum of n_k (mean_k - m0) / n,  m2 = sum of m2_k + n_k (mean_k - mean)^2, with m0 the first chunk's mean
//   stats [2, channels] = mean, 1 / sqrt(var + eps) with the biased variance
//   Both sums are compensated: an error of the variance is one of every value of its channel.
//   running = (1 - momentum) * running + momentum * (mean, unbiased variance)
// Grid: one invocation per channel; with SHARE = 32 one workgroup per 8 channels, whose chunks are dealt out to 32 lanes each, for
// adapters that have more lanes than there are channels. Bytes: 8 chunks channels read.
#include elem
#include compensated
struct Params { rows: u32, channels: u32, chunk: u32, chunks: u32, eps: f32, momentum: f32, one: f32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>;
@group(0) @binding(2) var<storage, read_write> runningMean: array<f32>;
@group(0) @binding(3) var<storage, read_write> runningVar: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn rows_of(chunk: u32) -> f32 { return f32(min(params.chunk, params.rows - chunk * params.chunk)); }

#if SHARE
const CHANNELS = 8u;
var<workgroup> shared_sums: array<f32, CHANNELS * ${SHARE}u>;

/** The sum of what the lanes of a channel have, in their order; the same in all of them. */
fn together(v: f32, channel: u32, share: u32) -> f32 {
  workgroupBarrier();
  shared_sums[share * CHANNELS + channel] = v;
  workgroupBarrier();
  var sum = Sum();
  for (var k = 0u; k < ${SHARE}u; k++) { sum = plus(sum, shared_sums[k * CHANNELS + channel], params.one); }
  return sum.total;
}

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
  let n = f32(params.rows);
  let origin = partial[c];
  var sum = Sum();
  for (var k = first; k < params.chunks; k += STEP) {
    sum = plus(sum, rows_of(k) * (partial[k * params.channels + c] - origin), params.one);
  }
  #if SHARE
  let mean = origin + together(sum.total, channel, first) / n;
  #else
  let mean = origin + sum.total / n;
  #endif
  var squares = Sum();
  for (var k = first; k < params.chunks; k += STEP) {
    let delta = partial[k * params.channels + c] - mean;
    squares = plus(squares, fma(rows_of(k) * delta, delta, partial[(params.chunks + k) * params.channels + c]), params.one);
  }
  #if SHARE
  let m2 = together(squares.total, channel, first);
  if (first > 0u || id.x * CHANNELS + channel >= params.channels) { return; }
  #else
  let m2 = squares.total;
  #endif
  stats[c] = mean;
  // inverseSqrt may be off by two units in the last place, a factor that all of a channel's values would share; a step of
  // Newton's method leaves half a unit.
  let variance = m2 / n + params.eps;
  let root = inverseSqrt(variance);
  stats[params.channels + c] = fma(0.5 * root, fma(-variance * root, root, 1.0), root);
  runningMean[c] = mix(runningMean[c], mean, params.momentum);
  // One row has no unbiased variance; the biased one (0) then keeps the statistics finite.
  runningVar[c] = mix(runningVar[c], m2 / max(n - 1.0, 1.0), params.momentum);
}
