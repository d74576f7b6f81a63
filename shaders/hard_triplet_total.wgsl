// loss = (sum of hinges) / violations, where violations counts hinges above 0 and is 1 where there is none.
// Grid: one invocation, which adds in order; a batch has too few anchors to share the work.
struct Params { count: u32 }
@group(0) @binding(0) var<storage, read> hinge: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> violations: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  var sum = 0.0;
  var violated = 0.0;
  for (var i = 0u; i < params.count; i++) {
    sum += hinge[i];
    violated += select(0.0, 1.0, hinge[i] > 0.0);
  }
  violations[0] = max(violated, 1.0);
  loss[0] = sum / max(violated, 1.0);
}
