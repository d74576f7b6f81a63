// y = (x - mean) * (gamma / sqrt(var + eps)) + beta, then + residual and ReLU where asked.
// Layout: x, residual, y [rows, channels]; stats [2, channels] = mean, 1 / sqrt(var + eps).
// Grid: x over channels in T (lanes), y over runs of rows. Bytes: 8 rows channels (12 with a residual).
#include elem
struct Params { rows: u32, channels: u32, run: u32, relu: u32 }  // channels in T
override LX: u32 = 8;
override LY: u32 = 8;
@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read> stats: array<T>;
@group(0) @binding(2) var<storage, read> gamma: array<T>;
@group(0) @binding(3) var<storage, read> beta: array<T>;
@group(0) @binding(4) var<storage, read_write> y: array<T>;
@group(0) @binding(5) var<uniform> params: Params;
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<T>;
#endif

@compute @workgroup_size(LX, LY)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  let mean = stats[c];
  let scale = stats[params.channels + c] * gamma[c];
  let shift = beta[c];
  let end = min((id.y + 1u) * params.run, params.rows);
  for (var r = id.y * params.run; r < end; r++) {
    let i = r * params.channels + c;
    var v = fma(x[i] - mean, scale, shift);
    #if RESIDUAL
    v += residual[i];
    #endif
    if (params.relu != 0u) { v = max(v, T(0.0)); }
    y[i] = v;
  }
}
