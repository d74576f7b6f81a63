// Evaluation mode. STATS: stats [2, channels] = running mean, 1 / sqrt(running var + eps).
// Else the same as an epilogue of the convolution before it: scale = gamma / sqrt(var + eps), shift = beta + (bias - mean) scale.
// Grid: one invocation per channel.
struct Params { channels: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> runningMean: array<f32>;
@group(0) @binding(1) var<storage, read> runningVar: array<f32>;
#if STATS
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;
#else
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> shift: array<f32>;
#if BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif
#endif
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  let inverse = inverseSqrt(runningVar[c] + params.eps);
  #if STATS
  stats[c] = runningMean[c];
  stats[params.channels + c] = inverse;
  #else
  var centre = -runningMean[c];
  #if BIAS
  centre += bias[c];
  #endif
  let s = gamma[c] * inverse;
  scale[c] = s;
  shift[c] = fma(centre, s, beta[c]);
  #endif
}
