import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { gradients, pyramidPool, sum } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import * as reference from "../support/reference/maps.js";

for (const { shape, stripes } of [
  { shape: [1, 1, 1, 1], stripes: 1 },
  { shape: [2, 6, 3, 8], stripes: 6 },
  { shape: [2, 6, 1, 3], stripes: 3 },
  { shape: [3, 8, 2, 5], stripes: 4 },
  { shape: [1, 10, 5, 4], stripes: 2 },
] as const) {
  test(`pyramidPool of [${shape}] in ${stripes} stripes`, () =>
    checkOp({
      name: "pyramidPool",
      inputs: { x: { shape, draw: "distinct" } },
      build: ({ x }) => pyramidPool(x, stripes),
      reference: ({ x }) => reference.pyramidPool(x, shape, stripes),
      samples: 60,
    }));
}

test("on a tie the first position of a run takes the maximum's gradient", async () => {
  const x = input("x", [1, 4, 2, 1]);
  const [dx] = gradients(sum(pyramidPool(x, 2)), [x]);
  const { g } = await evaluate({ g: dx! }, { x: Float32Array.of(5, 1, 5, 2, 5, 5, 3, 0) });
  // Averages: 1/4 from the stripe and 1/8 from both together. Maxima: each stripe's first 5, and the first 5 of all.
  assert.equal([...g], [2.375, 0.375, 0.375, 0.375, 1.375, 0.375, 0.375, 0.375]);
});

test("stripes that do not divide the rows are named", () => {
  assert.throws(() => pyramidPool(input("x", [1, 7, 2, 4]), 3), /3 stripes do not divide 7 rows/);
  assert.throws(() => pyramidPool(input("x", [7, 2]), 1), /NHWC map/);
});

test.after(closeDevice);
test.run();
