import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { globalMaxPool, gradients, maxPool, sum } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import { reduce } from "../support/reference/arrays.js";
import * as reference from "../support/reference/maps.js";

const shapes = [
  [1, 1, 1, 1],
  [2, 7, 5, 3],
  [2, 8, 6, 4],
  [1, 9, 4, 8],
] as const;

for (const shape of shapes) {
  for (const [kernel, stride, padding] of [
    [3, 2, 1],
    [2, 2, 0],
    [2, 1, 1],
    [4, 3, 2],
  ]) {
    if (shape[1] + 2 * padding < kernel) continue;
    test(`maxPool of [${shape}], kernel ${kernel}, stride ${stride}, padding ${padding}`, () =>
      checkOp({
        name: "maxPool",
        inputs: { x: { shape, draw: "distinct" } },
        build: ({ x }) => maxPool(x, { kernel, stride, padding }),
        reference: ({ x }) => reference.maxPool(x, shape, kernel, stride, padding),
      }));
  }
  test(`globalMaxPool of [${shape}]`, () =>
    checkOp({
      name: "globalMaxPool",
      inputs: { x: { shape, draw: "distinct" } },
      build: ({ x }) => globalMaxPool(x),
      reference: ({ x }) => reduce(x, shape, [1, 2], (group) => Math.max(...group)),
    }));
}

test("the first of equal values takes the gradient", async () => {
  for (const channels of [1, 4]) {
    const x = input("x", [1, 4, 4, channels]);
    const { g } = await evaluate(
      { g: gradients(sum(maxPool(x)), [x])[0]! },
      { x: new Float32Array(16 * channels).fill(-1) },
    );
    const expected = [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].flatMap((v) =>
      new Array<number>(channels).fill(v),
    );
    assert.equal([...g], expected);
  }
});

test("windows that do not fit are refused", () => {
  assert.throws(() => maxPool(input("x", [1, 2, 9, 4]), { kernel: 3, padding: 0 }), /3 x 3 does not fit 2 x 9/);
  assert.throws(() => maxPool(input("x", [1, 9, 9, 4]), { kernel: 3, padding: 2 }), /padding <= kernel \/ 2/);
  assert.throws(() => maxPool(input("x", [9, 9, 4])), /expected an NHWC map/);
});

test.after(closeDevice);
test.run();
