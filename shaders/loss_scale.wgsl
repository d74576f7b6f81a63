// After a step's gradients: whether it counts, and the scale of the next one (Micikevicius et al., ICLR 2018).
//   state = scale, good steps in a row since it last changed, steps skipped so far, steps skipped in a row
//   gate  = 1 / scale (a power of two, so that nothing is rounded), or 0 where a gradient was not finite: SGD then does nothing
// Dynamic: a skipped step halves the scale, `interval` good ones double it, up to `most`. Grid: one invocation.
struct Params { changes: u32, interval: f32, most: f32 }
@group(0) @binding(0) var<storage, read> bad: array<f32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> gate: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  let scale = state[0];
  if (bad[0] == 0.0) {
    gate[0] = 1.0 / scale;
    state[1] += 1.0;
    state[3] = 0.0;
    if (params.changes != 0u && state[1] >= params.interval) {
      state[0] = min(2.0 * scale, params.most);
      state[1] = 0.0;
    }
  } else {
    gate[0] = 0.0;
    state[1] = 0.0;
    state[2] += 1.0;
    state[3] += 1.0;
    if (params.changes != 0u) { state[0] = 0.5 * scale; }
  }
}
