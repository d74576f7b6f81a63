import { test } from "uvu";
import * as assert from "uvu/assert";
import { input, type Shape } from "#src/graph/tensor.js";
import { add, maskMultiply, mul, sub, sumSquaredDifference, weightedSum } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import * as reference from "../support/reference/arrays.js";

const cases: { a: Shape; b: Shape; y: Shape }[] = [
  { a: [1], b: [1], y: [1] },
  { a: [5, 7], b: [5, 7], y: [5, 7] },
  { a: [4, 8], b: [8], y: [4, 8] },
  { a: [3, 5], b: [5], y: [3, 5] },
  { a: [1], b: [2, 3], y: [2, 3] },
  { a: [2, 3, 1, 8], b: [2, 1, 4, 8], y: [2, 3, 4, 8] },
  { a: [2, 1, 1, 6], b: [2, 3, 5, 6], y: [2, 3, 5, 6] },
  { a: [2, 3, 4, 8], b: [2, 3, 4, 1], y: [2, 3, 4, 8] },
  { a: [4, 1], b: [1, 4], y: [4, 4] },
  { a: [3, 1, 2], b: [1, 5, 1], y: [3, 5, 2] },
  { a: [2, 1, 3, 1, 2, 1], b: [1, 2, 1, 2, 1, 3], y: [2, 2, 3, 2, 2, 3] },
];

for (const { a, b, y } of cases) {
  test(`[${a}] and [${b}]`, async () => {
    const inputs = { a: { shape: a }, b: { shape: b } };
    const of = (f: (p: number, q: number) => number) => (v: Record<string, Float64Array>) =>
      reference.binary(v.a, a, v.b, b, y, f);
    await checkOp({ name: "add", inputs, build: (t) => add(t.a, t.b), reference: of((p, q) => p + q) });
    await checkOp({ name: "sub", inputs, build: (t) => sub(t.a, t.b), reference: of((p, q) => p - q) });
    await checkOp({ name: "mul", inputs, build: (t) => mul(t.a, t.b), reference: of((p, q) => p * q) });
  });
}

test("an operand used twice", async () => {
  const inputs = { x: { shape: [3, 5] } };
  await checkOp({ name: "x x", inputs, build: ({ x }) => mul(x, x), reference: ({ x }) => x.map((v) => v * v) });
  await checkOp({ name: "x - x", inputs, build: ({ x }) => sub(x, x), reference: ({ x }) => x.map(() => 0) });
});

for (const channels of [1, 3, 8]) {
  test(`maskMultiply, ${channels} channels`, async () => {
    const shape = [2, 3, 5, channels];
    await checkOp({
      name: "maskMultiply",
      inputs: { x: { shape }, mask: { shape: [2, 3, 5], fixed: true } },
      build: ({ x, mask }) => maskMultiply(x, mask),
      reference: ({ x, mask }) => reference.binary(x, shape, mask, [2, 3, 5, 1], shape, (p, q) => p * q),
    });
  });
}

test("weightedSum and sumSquaredDifference", async () => {
  await checkOp({
    name: "weightedSum",
    inputs: { a: { shape: [1] }, b: { shape: [1] }, c: { shape: [1] } },
    build: ({ a, b, c }) => weightedSum([a, b, c], [2, -1, 0.5]),
    reference: ({ a, b, c }) => [2 * a[0] - b[0] + 0.5 * c[0]],
  });
  await checkOp({
    name: "weightedSum of one",
    inputs: { a: { shape: [1] } },
    build: ({ a }) => weightedSum([a], [3]),
    reference: ({ a }) => [3 * a[0]],
  });
  await checkOp({
    name: "sumSquaredDifference",
    inputs: { a: { shape: [3, 37] }, b: { shape: [3, 37] } },
    build: ({ a, b }) => sumSquaredDifference(a, b),
    reference: ({ a, b }) => [a.reduce((s, v, i) => s + (v - b[i]) ** 2, 0)],
  });
});

test("more than 65535 workgroups, broadcast", async () => {
  const [rows, columns] = [65537, 65];
  const a = input("a", [rows, 1]);
  const b = input("b", [columns]);
  const feeds = {
    a: Float32Array.from({ length: rows }, (_, i) => i),
    b: Float32Array.from({ length: columns }, (_, i) => i / 128),
  };
  const { y } = await evaluate({ y: add(a, b) }, feeds);
  for (const [i, j] of [
    [0, 0],
    [40000, 64],
    [65536, 63],
    [65536, 64],
  ])
    assert.is(y[i * columns + j], i + j / 128);
});

test("shapes that do not broadcast name both", () => {
  const [a, b] = [input("a", [2, 3]), input("b", [4, 3])];
  assert.throws(() => add(a, b), /axis -2 has 2 positions in \[2,3\] and 4 in \[4,3\]/);
  assert.throws(() => maskMultiply(input("x", [2, 3, 4, 5]), input("mask", [2, 3, 5])), /mask.*must be \[2,3,4,1\]/);
  assert.throws(() => weightedSum([a], [1, 2]), /as many weights/);
  assert.throws(() => sumSquaredDifference(a, b), /shapes must be equal/);
});

test.after(closeDevice);
test.run();
