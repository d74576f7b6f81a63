import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { addScalar, leakyRelu, relu, scale, sigmoid } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";

const shapes = [[1], [1, 1], [7], [3, 5, 7], [2, 3, 4, 8]];

for (const shape of shapes) {
  const kinked = { x: { shape, draw: "off-zero" } } as const;
  test(`activations of [${shape}]`, async () => {
    await checkOp({
      name: "relu",
      inputs: kinked,
      build: ({ x }) => relu(x),
      reference: ({ x }) => x.map((v) => Math.max(v, 0)),
    });
    await checkOp({
      name: "leakyRelu",
      inputs: kinked,
      build: ({ x }) => leakyRelu(x, 0.1),
      reference: ({ x }) => x.map((v) => (v > 0 ? v : 0.1 * v)),
    });
    await checkOp({
      name: "sigmoid",
      inputs: { x: { shape } },
      build: ({ x }) => sigmoid(x),
      reference: ({ x }) => x.map((v) => 1 / (1 + Math.exp(-v))),
    });
  });
  test(`affine maps of [${shape}]`, async () => {
    await checkOp({
      name: "scale and addScalar",
      inputs: { x: { shape } },
      build: ({ x }) => addScalar(scale(x, -3), 0.25),
      reference: ({ x }) => x.map((v) => 0.25 - 3 * v),
    });
  });
}

test("sigmoid of large arguments neither overflows nor loses small values", async () => {
  const x = input("x", [4]);
  const { y } = await evaluate({ y: sigmoid(x) }, { x: Float32Array.of(-1e4, -30, 30, 1e4) });
  assert.is(y[0], 0);
  assert.ok(Math.abs(y[1] / Math.exp(-30) - 1) < 1e-5);
  assert.is(y[2], 1);
  assert.is(y[3], 1);
});

test("more than 65535 workgroups", async () => {
  const size = 4 * 64 * 65536 + 3;
  const x = input("x", [size]);
  const { y } = await evaluate({ y: relu(x) }, { x: Float32Array.from({ length: size }, (_, i) => (i % 7) - 3) });
  for (let i = 0; i < size; i++) if (y[i] !== Math.max((i % 7) - 3, 0)) assert.unreachable(`element ${i} is ${y[i]}`);
});

test("leakyRelu refuses a negative slope", () => {
  assert.throws(() => leakyRelu(input("x", [2]), -1), /slope must be 0 or more/);
});

test.after(closeDevice);
test.run();
