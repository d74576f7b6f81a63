import { test } from "uvu";
import * as assert from "uvu/assert";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { add, conv2d, gradients, mul, relu, reshape, scale, sum } from "#src/ops/index.js";
import { closeDevice, draw, evaluate, sameBits, typed } from "../support/op.js";

test("a tensor on several paths gets the sum of their gradients, a tensor on none gets null", async () => {
  const [x, z, unused] = [input("x", [3]), input("z", [3]), input("unused", [3])];
  const twice = add(x, x);
  const loss = sum(add(mul(twice, z), scale(x, 5)));
  const [dx, dz, none] = gradients(loss, [x, z, unused]);
  assert.is(none, null);
  const actual = await evaluate({ dx: dx!, dz: dz! }, { x: Float32Array.of(1, 2, 3), z: Float32Array.of(-1, 0, 4) });
  assert.equal([...actual.dx], [3, 5, 13]);
  assert.equal([...actual.dz], [2, 4, 6]);
});

test("by a tensor in the middle of the graph, and by the loss itself", async () => {
  const x = input("x", [2]);
  const middle = relu(x);
  const loss = sum(mul(middle, middle));
  const [dMiddle, dLoss] = gradients(loss, [middle, loss]);
  const actual = await evaluate({ dMiddle: dMiddle!, dLoss: dLoss!, loss }, { x: Float32Array.of(-1, 3) });
  assert.equal([...actual.dMiddle], [0, 6]);
  assert.equal([...actual.dLoss], [1]);
  assert.equal([...actual.loss], [9]);
});

test("of a gradient", async () => {
  const x = input("x", [2]);
  const [first] = gradients(sum(mul(mul(x, x), x)), [x]);
  const [second] = gradients(sum(first!), [x]);
  const { y } = await evaluate({ y: second! }, { x: Float32Array.of(2, -1) });
  assert.equal([...y], [12, -6]);
});

for (const [name, weights, options] of [
  ["direct", [1, 1, 8, 8], {}],
  ["stride 3, which leaves pixels out", [2, 2, 8, 8], { stride: 3 }],
  ["wide enough for Winograd", [3, 3, 64, 64], { padding: 1 }],
] as const) {
  test(`a convolution's input gradient takes another gradient into its epilogue: ${name}`, async () => {
    const x = input("x", [2, 9, 8, weights[2]]);
    const w = input("w", weights);
    const joined = (before: (t: Tensor) => Tensor) => {
      const y = conv2d(before(x), w, options);
      return gradients(add(sum(mul(y, y)), sum(mul(x, x))), [x])[0]!;
    };
    const adds = (t: Tensor) => reachable([t]).filter(({ op }) => op.name === "add").length;
    const fused = joined((t) => t);
    // Behind another op the two meet elsewhere.
    const apart = joined((t) => reshape(t, t.shape));
    assert.is(adds(apart) - adds(fused), 1);
    const feeds = { x: typed(draw(x.size, "uniform", 1)), w: typed(draw(w.size, "uniform", 2)) };
    const values = await evaluate({ fused, apart }, feeds);
    assert.ok(sameBits(values.fused, values.apart));
  });
}

test("of more than one element is refused", () => {
  const x = input("x", [2]);
  assert.throws(() => gradients(x, [x]), /only a loss of one element/);
});

test.after(closeDevice);
test.run();
