import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { transpose } from "#src/ops/index.js";
import { checkOp, closeDevice } from "../support/op.js";

for (const shape of [
  [2, 8, 12],
  [3, 5],
  [2, 36, 72],
  [3, 19, 33],
  [1, 6],
  [2, 2, 4, 3],
]) {
  test(`transposition of [${shape}]`, async () => {
    const [rows, columns] = shape.slice(-2);
    await checkOp({
      name: "transpose",
      inputs: { x: { shape } },
      build: ({ x }) => transpose(x),
      reference: ({ x }) =>
        x.map((_, i) => {
          const within = i % (rows * columns);
          return x[i - within + (within % rows) * columns + Math.floor(within / rows)];
        }),
    });
  });
}

test("a vector is refused", () => {
  assert.throws(() => transpose(input("x", [3])), /rank 2 or more/);
});

test.after(closeDevice);
test.run();
