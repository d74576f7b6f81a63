import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { add, gradients, mul, relu, scale, sum } from "#src/ops/index.js";
import { closeDevice, evaluate } from "../support/op.js";

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

test("of more than one element is refused", () => {
  const x = input("x", [2]);
  assert.throws(() => gradients(x, [x]), /only a loss of one element/);
});

test.after(closeDevice);
test.run();
