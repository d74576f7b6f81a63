import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { cropResize } from "#src/ops/index.js";
import { checkOp, closeDevice } from "../support/op.js";
import * as reference from "../support/reference/maps.js";

const boxes: Record<string, number[]> = {
  "the whole map": [0, 0, 8, 5],
  "rows, as ROI Resize": [2, 0, 7, 5],
  "one pixel": [3, 2, 4, 3],
  fractions: [1.25, 0.5, 6.75, 4.125],
  "less than a pixel": [2.25, 1.5, 2.75, 1.75],
  "beyond the map": [-2.5, -1, 11, 7.5],
  "outside of the map": [-6, 7, -3, 9],
  nothing: [3, 2, 3, 2],
};

for (const [what, box] of Object.entries(boxes)) {
  for (const channels of [1, 4, 16]) {
    for (const [height, width] of [
      [8, 5],
      [3, 2],
      [17, 11],
      [1, 1],
    ]) {
      test(`${what}, ${channels} channels, to ${height} x ${width}`, async () => {
        const shape = [2, 8, 5, channels] as const;
        await checkOp({
          name: "cropResize",
          inputs: { x: { shape }, boxes: { shape: [2, 4], fixed: true, values: [...box, 0, 0, 8, 5] } },
          build: (t) => cropResize(t.x, t.boxes, { height, width }),
          reference: (v) => reference.cropResize(v.x, shape, v.boxes, height, width),
          samples: 80,
        });
      });
    }
  }
}

test("boxes of another shape are refused", () => {
  const x = input("x", [2, 8, 5, 1]);
  assert.throws(
    () => cropResize(x, input("boxes", [2, 2]), { height: 8, width: 5 }),
    /boxes .* must be \[2,4\], got \[2,2\]/,
  );
});

test.after(closeDevice);
test.run();
