import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import {
  batchHardTriplet,
  classAlignment,
  classMeans,
  classWeights,
  cosineDistance,
  cosineDistanceMatrix,
  euclideanDistanceMatrix,
  gradients,
  softmaxCrossEntropy,
  softmaxCrossEntropyRows,
  sum,
} from "#src/ops/index.js";
import { checkOp, closeDevice, evaluate } from "../support/op.js";
import * as reference from "../support/reference/losses.js";

const labelled = (values: number[]) => ({ shape: [values.length], dtype: "i32", values }) as const;

for (const { shape, labels } of [
  { shape: [1, 1], labels: [0] },
  { shape: [3, 5], labels: [4, 0, 2] },
  { shape: [6, 4, 7], labels: [6, 0, 3, 3] },
  { shape: [2, 3, 2, 9], labels: [1, 8] },
  { shape: [3, 5], labels: [-1, 5, 2] },
]) {
  test(`softmaxCrossEntropy of [${shape}]`, async () => {
    const classes = shape[shape.length - 1];
    const inputs = { logits: { shape }, labels: labelled(labels) };
    await checkOp({
      name: "rows",
      inputs,
      build: (t) => softmaxCrossEntropyRows(t.logits, t.labels),
      reference: (v) => reference.crossEntropyRows(v.logits, classes, v.labels),
    });
    await checkOp({
      name: "sum of means",
      inputs,
      build: (t) => softmaxCrossEntropy(t.logits, t.labels),
      reference: (v) => [
        reference.crossEntropyRows(v.logits, classes, v.labels).reduce((a, b) => a + b, 0) / labels.length,
      ],
    });
  });
}

test("softmaxCrossEntropy of large logits stays finite", async () => {
  const logits = input("logits", [2, 2]);
  const rows = softmaxCrossEntropyRows(logits, input("labels", [2], "i32"));
  const { y } = await evaluate({ y: rows }, { logits: Float32Array.of(1e4, 0, -1e4, 0), labels: Int32Array.of(1, 1) });
  assert.equal([...y], [1e4, 0]);
});

for (const [m, n, d] of [
  [1, 1, 1],
  [3, 5, 7],
  [4, 2, 300],
]) {
  test(`cosine distances of ${m} and ${n} rows of ${d}`, async () => {
    await checkOp({
      name: "cosineDistanceMatrix",
      inputs: { a: { shape: [m, d], draw: "off-zero" }, b: { shape: [n, d], draw: "off-zero" } },
      build: ({ a, b }) => cosineDistanceMatrix(a, b),
      reference: ({ a, b }) => {
        return reference.rows(a, d).flatMap((p) => reference.rows(b, d).map((q) => reference.cosineDistance(p, q)));
      },
    });
    await checkOp({
      name: "cosineDistance",
      inputs: { a: { shape: [m, d], draw: "off-zero" }, b: { shape: [m, d], draw: "off-zero" } },
      build: ({ a, b }) => cosineDistance(a, b),
      reference: ({ a, b }) => reference.rows(a, d).map((p, i) => reference.cosineDistance(p, reference.rows(b, d)[i])),
    });
  });
}

test("a row of zeros is at distance 1 from everything", async () => {
  const x = input("x", [2, 3]);
  const { y } = await evaluate({ y: cosineDistanceMatrix(x, x) }, { x: Float32Array.of(0, 0, 0, 3, 4, 0) });
  assert.equal([...y.slice(0, 3)], [1, 1, 1]);
  assert.ok(Math.abs(y[3]) < 1e-6);
});

for (const [rows, dim] of [
  [1, 1],
  [5, 3],
  [3, 8],
  [7, 300],
]) {
  test(`Euclidean distances of ${rows} rows of ${dim}`, async () => {
    await checkOp({
      name: "euclideanDistanceMatrix",
      inputs: { x: { shape: [rows, dim], draw: "distinct" } },
      build: ({ x }) => euclideanDistanceMatrix(x),
      reference: ({ x }) => {
        const list = reference.rows(x, dim);
        return list.flatMap((a) => list.map((b) => Math.max(reference.euclideanDistance(a, b), 1e-6)));
      },
    });
  });
}

test("equal rows are at the least distance, which has no gradient, and close rows keep theirs", async () => {
  const x = input("x", [3, 4]);
  const d = euclideanDistanceMatrix(x);
  const [dx] = gradients(sum(d), [x]);
  const values = Float32Array.of(7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 + 2 ** -15);
  const { y, g } = await evaluate({ y: d, g: dx! }, { x: values });
  assert.ok(Math.abs(y[1] / 1e-6 - 1) < 1e-5);
  assert.is(y[2], 2 ** -15);
  // Rows 0 and 1 pull row 2, each in two places of the matrix.
  assert.equal([...g], [0, 0, 0, -2, 0, 0, 0, -2, 0, 0, 0, 4]);
});

for (const { what, labels, margin } of [
  { what: "sorted labels", labels: [3, 3, 3, 7, 7, 7], margin: 0.2 },
  { what: "mixed labels", labels: [5, -1, 5, 9, -1, 9, 5], margin: 0.2 },
  { what: "a wide margin, which all violate", labels: [0, 1, 0, 1], margin: 5 },
  { what: "a negative margin, which none violates", labels: [0, 1, 0, 1], margin: -5 },
  { what: "an anchor without positives", labels: [0, 0, 1, 2, 2], margin: 0.5 },
  { what: "one class only", labels: [4, 4, 4], margin: 0.5 },
  { what: "one row", labels: [4], margin: 0.5 },
]) {
  test(`batchHardTriplet: ${what}`, async () => {
    const dim = 5;
    await checkOp({
      name: what,
      inputs: { h: { shape: [labels.length, dim] }, labels: labelled(labels) },
      build: (t) => batchHardTriplet(t.h, t.labels, margin),
      reference: (v) => [reference.batchHardTriplet(reference.rows(v.h, dim), v.labels, margin)],
      samples: 40,
    });
    const options = { distance: "euclidean", average: "all" } as const;
    await checkOp({
      name: `${what}, Euclidean`,
      inputs: { h: { shape: [labels.length, dim] }, labels: labelled(labels) },
      build: (t) => batchHardTriplet(t.h, t.labels, margin, options),
      reference: ({ h, labels }) => {
        const rows = reference.rows(h, dim);
        return [reference.batchHardTriplet(rows, labels, margin, reference.euclideanDistance, "all")];
      },
      samples: 40,
    });
  });
}

test("batchHardTriplet of equal rows: the first index takes the gradient, and all stays finite", async () => {
  const h = input("h", [4, 3]);
  const loss = batchHardTriplet(h, input("labels", [4], "i32"), 0.2);
  const { y } = await evaluate({ y: loss }, { h: new Float32Array(12).fill(1), labels: Int32Array.of(0, 0, 1, 1) });
  assert.ok(Math.abs(y[0] - 0.2) < 1e-6);
});

for (const { labels, dim } of [
  { labels: [0], dim: 1 },
  { labels: [3, 3, 7, 7], dim: 4 },
  { labels: [5, -2, 5, 900, -2, 5], dim: 7 },
  { labels: [1, 1, 1], dim: 3 },
]) {
  test(`class means of labels ${labels}`, async () => {
    const n = labels.length;
    const rows = { shape: [n, dim], draw: "off-zero" } as const;
    await checkOp({
      name: "classMeans",
      inputs: { h: rows, labels: labelled(labels) },
      build: (t) => classMeans(t.h, t.labels),
      reference: (v) => reference.classMeans(reference.rows(v.h, dim), v.labels).flat(),
    });
    const classes = new Set(labels).size;
    await checkOp({
      name: "classWeights",
      inputs: { labels: labelled(labels) },
      build: (t) => classWeights(t.labels),
      reference: () => labels.map((label) => 1 / (labels.filter((other) => other === label).length * classes)),
    });
    await checkOp({
      name: "classAlignment",
      inputs: { h: rows, g: rows, labels: labelled(labels) },
      build: (t) => classAlignment(t.h, t.g, t.labels),
      reference: (v) => [reference.classAlignment(reference.rows(v.h, dim), reference.rows(v.g, dim), v.labels)],
    });
  });
}

test("what does not fit is named", () => {
  const labels = input("labels", [3], "i32");
  assert.throws(
    () => softmaxCrossEntropy(input("x", [4, 5]), labels),
    /labels, one for each row, must be \[4\], got \[3\]/,
  );
  assert.throws(() => softmaxCrossEntropy(input("x", [3, 5]), input("f", [3])), /labels must be i32, got f32/);
  assert.throws(() => cosineDistance(input("a", [3, 2]), input("b", [2, 2])), /shapes must be equal/);
  assert.throws(() => batchHardTriplet(input("h", [4, 2]), labels, 0.2), /must be \[4\]/);
  assert.throws(() => classMeans(input("h", [3, 2, 2]), labels), /rows of features \[N, D\]/);
});

test.after(closeDevice);
test.run();
