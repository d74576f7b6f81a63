import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { concat, gradients, mul, reshape, slice, split, sum } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import * as reference from "../support/reference/arrays.js";

test("reshape", async () => {
  await checkOp({
    name: "reshape",
    inputs: { x: { shape: [2, 3, 5] } },
    build: ({ x }) => reshape(x, [6, 5]),
    reference: ({ x }) => x,
  });
  assert.throws(() => reshape(input("x", [2, 3]), [4]), /\[4\] holds 4 elements, the input 6/);
});

for (const { shape, axis, start, end } of [
  { shape: [7], axis: 0, start: 2, end: 5 },
  { shape: [6, 5], axis: 0, start: 1, end: 4 },
  { shape: [6, 64], axis: 0, start: 1, end: 4 }, // a view
  { shape: [1, 4, 32], axis: 1, start: 2, end: 4 }, // a view
  { shape: [2, 6, 3, 4], axis: 1, start: 2, end: 4 },
  { shape: [2, 3, 5], axis: 2, start: 1, end: 4 },
  { shape: [2, 3, 8], axis: -1, start: 4, end: 8 },
]) {
  test(`slice of [${shape}] along ${axis}`, async () => {
    const at = axis < 0 ? shape.length + axis : axis;
    await checkOp({
      name: "slice",
      inputs: { x: { shape } },
      build: ({ x }) => slice(x, axis, start, end),
      reference: ({ x }) => reference.slice(x, shape, at, start, end),
    });
  });
}

for (const { shapes, axis } of [
  { shapes: [[3], [1], [2]], axis: 0 },
  {
    shapes: [
      [2, 3],
      [2, 1],
    ],
    axis: 1,
  },
  {
    shapes: [
      [2, 4, 3],
      [2, 1, 3],
      [2, 2, 3],
    ],
    axis: 1,
  },
  {
    shapes: [
      [1, 2, 8],
      [1, 2, 4],
    ],
    axis: -1,
  },
]) {
  test(`concat of [${shapes.join("], [")}] along ${axis}`, async () => {
    const names = shapes.map((_, i) => `x${i}`);
    const at = axis < 0 ? shapes[0].length + axis : axis;
    await checkOp({
      name: "concat",
      inputs: Object.fromEntries(names.map((name, i) => [name, { shape: shapes[i] }])),
      build: (t) =>
        concat(
          names.map((name) => t[name]),
          axis,
        ),
      reference: (v) =>
        reference.concat(
          names.map((name, i) => ({ values: v[name], shape: shapes[i] })),
          at,
        ),
    });
  });
}

test("split gives the parts, and joins their gradients", async () => {
  const shape = [2, 6, 3];
  await checkOp({
    name: "split",
    inputs: { x: { shape } },
    build: ({ x }) => {
      const [first, second, third] = split(x, 1, 3);
      return concat([third, mul(first, second)], 2);
    },
    reference: ({ x }) => {
      const part = (i: number) => reference.slice(x, shape, 1, 2 * i, 2 * i + 2);
      const product = part(0).map((v, i) => v * part(1)[i]);
      return reference.concat(
        [
          { values: part(2), shape: [2, 2, 3] },
          { values: product, shape: [2, 2, 3] },
        ],
        2,
      );
    },
  });
});

test("parts of a split that are not used have gradient 0", async () => {
  const x = input("x", [4, 2]);
  const [, second] = split(x, 0, 2);
  const outputs = { g: gradients(sum(mul(second, second)), [x])[0]! };
  const { g } = await evaluate(outputs, { x: new Float32Array(8).fill(0.5) });
  assert.equal([...g], [0, 0, 0, 0, 1, 1, 1, 1]);
});

test("integers move like floats", async () => {
  const labels = input("labels", [6], "i32");
  const y = concat([slice(labels, 0, 4, 6), slice(labels, 0, 0, 2)], 0);
  assert.is(y.dtype, "i32");
  const result = await evaluate({ y }, { labels: Int32Array.of(-1, 2, 3, 4, 5, -6) });
  assert.equal([...result.y], [5, -6, -1, 2]);
});

test("what does not fit is named", () => {
  const x = input("x", [4, 6]);
  assert.throws(() => slice(x, 1, 2, 7), /\[2, 7\) is not a part of axis 1, which has 6 positions/);
  assert.throws(() => slice(x, 2, 0, 1), /axis 2 does not exist/);
  assert.throws(() => split(x, 1, 4), /axis 1 has 6 positions, which 4 equal parts do not divide/);
  assert.throws(() => concat([x, input("z", [5, 5])], 0), /all axes but axis 0 must agree/);
  assert.throws(() => concat([x, input("z", [4, 6], "i32")], 0), /cannot join i32 and f32/);
});

test.after(closeDevice);
test.run();
