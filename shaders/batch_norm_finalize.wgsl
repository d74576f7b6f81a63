// Batch statistics, second half: merges the chunks in order, and moves the running statistics.
//   mean = m0 + sum of n_k (mean_k - m0) / n,  m2 = sum of m2_k + n_k (mean_k - mean)^2, with m0 the first chunk's mean
//   stats [2, channels] = mean, 1 / sqrt(var + eps) with the biased variance
//   Both sums are compensated: an error of the variance is one of every value of its channel.
//   running = (1 - momentum) * running + momentum * (mean, unbiased variance)
//   WIDE: LY invocations share a channel's chunks, each loads four before it looks at the first, and they join what each of them has as a
//   tree, compensated too: on a GPU one alone would wait for each of its chunks. m2_k are then summed beside the means, apart from what
//   lies between these, so that only means are read twice.
// Grid: one invocation per channel (WIDE: LX channels a workgroup). Bytes: 8 chunks channels read.
#include elem
#include compensated
struct Params { rows: u32, channels: u32, chunk: u32, chunks: u32, eps: f32, momentum: f32, one: f32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>;
@group(0) @binding(2) var<storage, read_write> runningMean: array<f32>;
@group(0) @binding(3) var<storage, read_write> runningVar: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

#if WIDE
override LX: u32 = 8;
override LY: u32 = 32;  // a power of two
var<workgroup> parts: array<Sum, LX * LY>;

/** The sum over a channel's invocations of what each gives; the same for all of them. All of a workgroup have to call it. */
fn merged(part: Sum, lane: vec3u) -> f32 {
  let own = lane.y * LX + lane.x;
  parts[own] = part;
  workgroupBarrier();
  for (var apart = LY / 2u; apart > 0u; apart /= 2u) {
    if (lane.y < apart) { parts[own] = joined(parts[own], parts[own + apart * LX], params.one); }
    workgroupBarrier();
  }
  let sum = parts[lane.x];
  workgroupBarrier();
  return sum.total - sum.lost;
}

/** 0 for a chunk that there is not. */
fn rows_of(chunk: u32) -> f32 { return f32(min(params.chunk, params.rows - min(chunk * params.chunk, params.rows))); }

@compute @workgroup_size(LX, LY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let inside = id.x * LX + lane.x < params.channels;
  let c = min(id.x * LX + lane.x, params.channels - 1u);
  let n = f32(params.rows);
  let origin = partial[c];
  let last = params.chunks - 1u;
  var part = Sum();
  var within = Sum();
  for (var k = lane.y; k <= last; k += 4u * LY) {
    #for I in 4
    let k$I = k + ${I}u * LY;
    let mean$I = partial[min(k$I, last) * params.channels + c];
    let squares$I = partial[(params.chunks + min(k$I, last)) * params.channels + c];
    #endfor
    #for I in 4
    part = plus(part, rows_of(k$I) * (mean$I - origin), params.one);
    within = plus(within, select(0.0, squares$I, k$I <= last), params.one);
    #endfor
  }
  let mean = origin + merged(part, lane) / n;
  part = within;
  for (var k = lane.y; k <= last; k += 4u * LY) {
    #for I in 4
    let k$I = k + ${I}u * LY;
    let delta$I = partial[min(k$I, last) * params.channels + c] - mean;
    #endfor
    #for I in 4
    part = plus(part, rows_of(k$I) * delta$I * delta$I, params.one);
    #endfor
  }
  let m2 = merged(part, lane);
  if (!inside || lane.y > 0u) { return; }
#else
fn rows_of(chunk: u32) -> f32 { return f32(min(params.chunk, params.rows - chunk * params.chunk)); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  let n = f32(params.rows);
  let origin = partial[c];
  var sum = Sum();
  for (var k = 0u; k < params.chunks; k++) {
    sum = plus(sum, rows_of(k) * (partial[k * params.channels + c] - origin), params.one);
  }
  let mean = origin + sum.total / n;
  var squares = Sum();
  for (var k = 0u; k < params.chunks; k++) {
    let delta = partial[k * params.channels + c] - mean;
    squares = plus(squares, fma(rows_of(k) * delta, delta, partial[(params.chunks + k) * params.channels + c]), params.one);
  }
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
