/** Ops on maps that are stored in halves: values and gradients are those of float64 but for the rounding of what is stored. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { castOp, storeHalves } from "#src/graph/storage.js";
import { apply, input, reachable, type Shape, type Tensor } from "#src/graph/tensor.js";
import {
  add,
  batchNorm,
  conv2d,
  cropResize,
  globalAveragePool,
  globalMaxPool,
  maskMultiply,
  maxPool,
  mul,
  pyramidPool,
  reshape,
  sigmoid,
  slice,
} from "#src/ops/index.js";
import { type Arrays, checkOp, closeDevice, draw, evaluate, half, type InputSpec, typed } from "../support/op.js";
import { reduce } from "../support/reference/arrays.js";
import { moments, normalize } from "../support/reference/batch-norm.js";
import * as conv from "../support/reference/conv.js";
import * as maps from "../support/reference/maps.js";

/** What rounding to 11 bits may change a number by, at most. */
const ROUNDING = 2 ** -11;

function check(
  name: string,
  inputs: Readonly<Record<string, InputSpec>>,
  build: (t: Readonly<Record<string, Tensor>>) => Tensor,
  reference: (v: Arrays) => ArrayLike<number>,
  pooled = false,
): void {
  test(name, () =>
    checkOp({
      name,
      inputs,
      build,
      reference,
      precision: "float16",
      // What is pooled is float32, and inputs are exact: then nothing but float32's rounding is left.
      bound: pooled ? 1e-6 : 1.01 * ROUNDING,
      // An input's gradient is rounded where it is made, and once more where another one is added to it.
      gradientBound: 2.5 * ROUNDING,
    }),
  );
}

const map = (shape: Shape, drawn?: InputSpec["draw"]): InputSpec => ({ shape, map: true, draw: drawn });

const convolutions: Record<string, conv.ConvCase> = {
  "1 x 1": { x: [2, 6, 5, 8], kernel: [1, 1], filters: 16 },
  "1 x 1, as long a sum as takes several passes": { x: [1, 5, 4, 260], kernel: [1, 1], filters: 12 },
  "3 x 3": { x: [2, 8, 6, 8], kernel: [3, 3], filters: 12, padding: [1, 1] },
  "3 x 3, wide": { x: [1, 6, 5, 32], kernel: [3, 3], filters: 64, padding: [1, 1] },
  "3 x 3, 64 channels (Winograd on software adapters)": {
    x: [1, 5, 4, 64],
    kernel: [3, 3],
    filters: 64,
    padding: [1, 1],
  },
  "3 x 3, stride 2": { x: [2, 8, 6, 6], kernel: [3, 3], filters: 6, stride: [2, 2], padding: [1, 1] },
  "7 x 7, stride 2, folded taps": { x: [2, 20, 13, 3], kernel: [7, 7], filters: 16, stride: [2, 2], padding: [3, 3] },
  "odd channels": { x: [1, 5, 3, 5], kernel: [3, 3], filters: 7, padding: [1, 1] },
  "3 stripes of rows": { x: [2, 6, 4, 8], kernel: [1, 1], filters: 12, groups: 3, split: "rows" },
};
for (const [name, c] of Object.entries(convolutions)) {
  const { stride, padding, groups, split } = c;
  check(
    `convolution ${name}`,
    { x: map(c.x), w: { shape: conv.weightShape(c) }, bias: { shape: [c.filters] } },
    ({ x, w, bias }) => conv2d(x, w, { stride, padding, groups, split, bias }),
    ({ x, w, bias }) => conv.conv2d(x, w, bias, c),
  );
}

for (const channels of [8, 3]) {
  const shape = [2, 5, 3, channels] as const;
  for (const training of [true, false]) {
    check(
      `batch norm, ReLU and residual, ${training ? "training" : "evaluation"}, ${channels} channels`,
      {
        x: map(shape),
        gamma: { shape: [channels], draw: "off-zero" },
        beta: { shape: [channels] },
        residual: map(shape),
        mean: { shape: [channels], fixed: true },
        variance: { shape: [channels], fixed: true, values: Array.from({ length: channels }, (_, c) => 0.25 + c / 16) },
      },
      ({ x, gamma, beta, residual, mean, variance }) =>
        batchNorm(x, { gamma, beta, runningMean: mean, runningVar: variance }, { training, relu: true, residual }).y,
      ({ x, gamma, beta, residual, mean, variance }) => {
        const batch = training ? moments(x, channels) : { mean, biased: variance };
        return normalize(x, batch.mean, batch.biased, { gamma, beta, residual, relu: true });
      },
    );
  }
  check(
    `max pooling, ${channels} channels`,
    { x: map(shape, "distinct") },
    ({ x }) => maxPool(x),
    ({ x }) => maps.maxPool(x, shape, 3, 2, 1),
  );
  check(
    `global max pooling, ${channels} channels`,
    { x: map(shape, "distinct") },
    ({ x }) => globalMaxPool(x),
    ({ x }) => reduce(x, shape, [1, 2], (group) => Math.max(...group)),
    true,
  );
  check(
    `global average pooling, ${channels} channels`,
    { x: map(shape) },
    ({ x }) => globalAveragePool(x),
    ({ x }) => reduce(x, shape, [1, 2], (group) => group.reduce((a, b) => a + b, 0) / group.length),
    true,
  );
  check(
    `pyramid pooling, ${channels} channels`,
    { x: map(shape, "distinct") },
    ({ x }) => pyramidPool(x, 5),
    ({ x }) => maps.pyramidPool(x, shape, 5),
    true,
  );
  check(
    `crop-resize, ${channels} channels`,
    { x: map(shape), boxes: { shape: [2, 4], fixed: true, values: [1.25, 0.5, 4.75, 2.75, 0, 0, 5, 3] } },
    ({ x, boxes }) => cropResize(x, boxes, { height: 4, width: 3 }),
    ({ x, boxes }) => maps.cropResize(x, shape, boxes, 4, 3),
  );
  check(
    `mask, ${channels} channels`,
    { x: map(shape), mask: { shape: [2, 5, 3], fixed: true, values: Array.from({ length: 30 }, (_, i) => i % 2) } },
    ({ x, mask }) => maskMultiply(x, mask),
    ({ x, mask }) => x.map((v, i) => v * mask[Math.floor(i / channels)]),
  );
  check(
    `sum of two maps, ${channels} channels`,
    { x: map(shape), z: map(shape) },
    ({ x, z }) => add(x, z),
    ({ x, z }) => x.map((v, i) => v + z[i]),
  );
  check(
    `product with a map of one channel, ${channels} channels`,
    { x: map(shape), gate: map([2, 5, 3, 1]) },
    ({ x, gate }) => mul(x, gate),
    ({ x, gate }) => x.map((v, i) => v * gate[Math.floor(i / channels)]),
  );
}

test("what an op cannot read in halves it reads from a float32 copy, made once; views take their owner's width", () => {
  const x = maxPool(input("x", [2, 8, 8, 16]));
  const view = reshape(x, [2, 16, 16]);
  const [a, b, stripe] = [sigmoid(x), sigmoid(x), slice(view, 0, 1, 2)];
  // Byte 256 of floats can be bound, byte 128 of halves cannot.
  const odd = slice(reshape(x, [8, 64]), 0, 1, 2);
  const nodes = reachable(storeHalves([a, b, stripe, odd]));
  const made = (name: string) => nodes.filter((n) => n.op.name === name).map((n) => n.outputs[0].dtype);
  assert.equal(made("maxPool"), ["f16"]);
  assert.equal(made("reshape"), ["f16", "f16"]);
  // Copies of x for both sigmoids, of the second reshape for its slice, and of the stripe for who reads it.
  assert.equal(made("cast"), ["f32", "f32", "f32"]);
  assert.equal(made("slice").sort(), ["f16", "f32"]);
});

test("views of halves show the numbers that are there", async () => {
  const values = draw(2 * 6 * 4 * 16, "uniform", 3).map(half);
  const x = apply(castOp, [input("x", [2, 6, 4, 16])], "f16")[0];
  const stripes = reshape(maxPool(x, { kernel: 1, stride: 1, padding: 0 }), [12, 64]);
  const y = slice(stripes, 0, 4, 6);
  const z = slice(stripes, 0, 5, 6);
  const out = await evaluate({ y, z }, { x: typed(values) }, "float16");
  assert.equal([...out.y], [...values.slice(256, 384)]);
  assert.equal([...out.z], [...values.slice(320, 384)]);
});

test("rounding is to the nearest, ties to even; what is too large becomes infinite, and no NaN is lost", async () => {
  const given = [1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65504, 65519, 70000, -1e10, Number.NaN, 2 ** -24, 2 ** -26];
  const x = apply(castOp, [input("x", [given.length])], "f16")[0];
  const { y } = await evaluate({ y: apply(castOp, [x], "f32")[0] }, { x: Float32Array.from(given) });
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY, NaN: nan } = Number;
  const expected = [1, 1, 1 + 2 ** -9, 65504, 65504, POSITIVE_INFINITY, NEGATIVE_INFINITY, nan, 2 ** -24, 0];
  assert.equal([...y], expected);
});

test.after(closeDevice);
test.run();
