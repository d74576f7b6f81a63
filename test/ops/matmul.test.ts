import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { matmul } from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import * as reference from "../support/reference/arrays.js";

const sizes = [
  [1, 1, 1, 1],
  [1, 9, 5, 3],
  [3, 8, 7, 66],
  [2, 3, 4, 150],
  [1, 17, 130, 257],
] as const;

for (const [batch, rows, depth, columns] of sizes) {
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      test(`${batch} x [${rows}, ${depth}] x [${depth}, ${columns}], transposed ${transposeA}, ${transposeB}`, async () => {
        const lead = batch > 1 ? [batch] : [];
        await checkOp({
          name: "matmul",
          inputs: {
            a: { shape: [...lead, ...(transposeA ? [depth, rows] : [rows, depth])] },
            b: { shape: [...lead, ...(transposeB ? [columns, depth] : [depth, columns])] },
          },
          build: ({ a, b }) => matmul(a, b, { transposeA, transposeB }),
          reference: ({ a, b }) => reference.matmul(a, b, [batch, rows, depth, columns], transposeA, transposeB),
          samples: 8,
        });
      });
    }
  }
}

test("one matrix for a whole batch", async () => {
  await checkOp({
    name: "matmul",
    inputs: { a: { shape: [2, 3, 4, 5] }, b: { shape: [6, 5] } },
    build: ({ a, b }) => matmul(a, b, { transposeB: true }),
    reference: ({ a, b }) => reference.matmul(a, b, [1, 24, 5, 6], false, true),
  });
});

test("more than 65535 workgroups", async () => {
  const rows = 8 * 65536 + 3;
  const [a, b] = [input("a", [rows, 1]), input("b", [1, 2])];
  const values = Float32Array.from({ length: rows }, (_, i) => i);
  const { c } = await evaluate({ c: matmul(a, b) }, { a: values, b: Float32Array.of(1, -1) });
  for (const r of [0, 1, 300_000, rows - 1]) assert.equal([c[2 * r], c[2 * r + 1]], [r, -r]);
});

test("sizes that do not fit are named", () => {
  assert.throws(
    () => matmul(input("a", [2, 3]), input("b", [4, 5])),
    /a's axis -1 \(3\) is multiplied by b's axis -2 \(4\)/,
  );
  const transposed = () => matmul(input("a", [2, 3]), input("b", [4, 5]), { transposeA: true, transposeB: true });
  assert.throws(transposed, /a's axis -2 \(2\) is multiplied by b's axis -1 \(5\)/);
  assert.throws(
    () => matmul(input("a", [2, 3, 4]), input("b", [3, 4, 5])),
    /leading axes must be equal, got \[2\] and \[3\]/,
  );
});

test.after(closeDevice);
test.run();
