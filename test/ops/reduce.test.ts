import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { broadcastTo, globalAveragePool, gradients, max, mean, sum } from "#src/ops/index.js";
import { asGpu } from "../support/forced.js";
import { checkOp, closeDevice, evaluate, sharedDevice } from "../support/op.js";
import * as reference from "../support/reference/arrays.js";

const total = (group: number[]) => group.reduce((a, b) => a + b, 0);

for (const { shape, axes } of [
  { shape: [1], axes: [0] },
  { shape: [5], axes: [0] },
  { shape: [3, 1, 5], axes: [1] },
  { shape: [4, 7], axes: [0] },
  { shape: [4, 7], axes: [1] },
  { shape: [4, 8], axes: [0] },
  { shape: [2, 3, 4, 8], axes: [1, 2] },
  { shape: [2, 3, 4, 5], axes: [0, 2] },
  { shape: [2, 3, 4, 5], axes: [1, -1] },
  { shape: [300, 5], axes: [0] },
  { shape: [2, 5003], axes: [1] },
  { shape: [70, 70, 2], axes: [0, 1] },
  { shape: [3, 40, 21], axes: [1] },
  { shape: [2, 700, 72], axes: [1] },
]) {
  test(`[${shape}] over [${axes}]`, async () => {
    const at = axes.map((axis) => (axis < 0 ? shape.length + axis : axis));
    const inputs = { x: { shape } };
    await checkOp({
      name: "sum",
      inputs,
      build: ({ x }) => sum(x, axes),
      reference: ({ x }) => reference.reduce(x, shape, at, total),
    });
    await checkOp({
      name: "mean",
      inputs,
      build: ({ x }) => mean(x, axes, { keepDims: true }),
      reference: ({ x }) => reference.reduce(x, shape, at, (group) => total(group) / group.length),
    });
    await checkOp({
      name: "max",
      inputs: { x: { shape, draw: "distinct" } },
      build: ({ x }) => max(x, axes),
      reference: ({ x }) => reference.reduce(x, shape, at, (group) => Math.max(...group)),
    });
  });
}

test("shapes", () => {
  const x = input("x", [2, 3, 4]);
  assert.equal(sum(x).shape, [1]);
  assert.equal(sum(x, [1]).shape, [2, 4]);
  assert.equal(mean(x, [0, 2], { keepDims: true }).shape, [1, 3, 1]);
  assert.equal(max(x, [-1, 0]).shape, [3]);
  assert.equal(sum(input("y", [1, 3]), [0]).shape, [3]);
  assert.throws(() => sum(x, [3]), /x\[2, 3, 4\]: axis 3 does not exist: axes run from -3 to 2/);
  assert.throws(() => broadcastTo(x, [2, 5, 4]), /does not broadcast to \[2,5,4\]/);
});

test("the first maximum takes the gradient, however the work is divided", async () => {
  for (const [rows, length] of [
    [1, 5],
    [3, 4001],
  ]) {
    const x = input("x", [rows, length]);
    const values = Float32Array.from({ length: rows * length }, (_, i) =>
      Number(i % length === 2 || i % length === length - 1),
    );
    const { g } = await evaluate({ g: gradients(sum(max(x, [1])), [x])[0]! }, { x: values });
    assert.equal(
      [...g.keys()].filter((i) => g[i] !== 0),
      Array.from({ length: rows }, (_, r) => r * length + 2),
    );
  }
  const x = input("x", [2, 2, 2]);
  const { g } = await evaluate({ g: gradients(sum(max(x, [0, 2])), [x])[0]! }, { x: new Float32Array(8).fill(1) });
  assert.equal([...g], [1, 0, 1, 0, 0, 0, 0, 0]);
});

test("broadcastTo", async () => {
  for (const { from, to } of [
    { from: [1], to: [3, 8] },
    { from: [4, 1], to: [4, 3] },
    { from: [2, 1, 3, 1], to: [5, 2, 4, 3, 2] },
  ]) {
    await checkOp({
      name: `broadcastTo [${to}]`,
      inputs: { x: { shape: from } },
      build: ({ x }) => broadcastTo(x, to),
      reference: ({ x }) => reference.binary(x, from, [0], [1], to, (v) => v),
      seed: 2,
    });
  }
});

test("globalAveragePool", async () => {
  const shape = [2, 3, 5, 6];
  await checkOp({
    name: "globalAveragePool",
    inputs: { x: { shape } },
    build: ({ x }) => globalAveragePool(x),
    reference: ({ x }) => reference.reduce(x, shape, [1, 2], (group) => total(group) / group.length),
  });
  assert.throws(() => globalAveragePool(input("x", [2, 3])), /expected an NHWC map/);
});

test("a long sum is accurate, by one invocation a part and by many", async () => {
  const size = 4_000_003;
  const x = input("x", [size]);
  const values = Float32Array.from({ length: size }, (_, i) => 1 + (i % 13) / 13);
  const expected = values.reduce((a, b) => a + b, 0);
  const run = async () => (await evaluate({ y: sum(x) }, { x: values })).y[0];
  for (const y of [await run(), await asGpu(await sharedDevice(), run)]) {
    assert.ok(Math.abs(y / expected - 1) < 1e-6, `${y} is not ${expected}`);
  }
});

test("more than 65535 workgroups", async () => {
  const rows = 64 * 65536 + 5;
  const x = input("x", [rows, 2]);
  const values = Float32Array.from({ length: 2 * rows }, (_, i) => i % 1000);
  const { y, m } = await evaluate({ y: sum(x, [1]), m: max(x, [1]) }, { x: values });
  for (const r of [0, 1, rows - 1]) {
    assert.is(y[r], values[2 * r] + values[2 * r + 1]);
    assert.is(m[r], values[2 * r + 1]);
  }
});

test.after(closeDevice);
test.run();
