// loss = (sum of hinges) / divisor: the count of hinges above 0, 1 where there is none, or of all anchors.
// Grid: one invocation, which adds in order; a batch has too few anchors to share the work.
struct Params { count: u32, all: u32 }
@group(0) @binding(0) var<storage, read> hinge: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> divisor: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  var sum = 0.0;
  var violated = 0.0;
  for (var i = 0u; i < params.count; i++) {
    sum += hinge[i];
    violated += select(0.0, 1.0, hinge[i] > 0.0);
  }
  let by = select(max(violated, 1.0), f32(params.count), params.all != 0u);
  divisor[0] = by;
  loss[0] = sum / by;
}
