import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { dropout } from "#src/ops/index.js";
import { checkOp, closeDevice, draw, evaluate } from "../support/op.js";

/** The last word of pcg3d (Jarzynski and Olano, 2020), in whole numbers of 32 bits. */
function pcg3d(x: number, y: number, z: number): number {
  let [a, b, c] = [x, y, z].map((v) => (Math.imul(v, 1664525) + 1013904223) >>> 0);
  const mad = (u: number, v: number, w: number) => (u + Math.imul(v, w)) >>> 0;
  a = mad(a, b, c);
  b = mad(b, c, a);
  c = mad(c, a, b);
  [a, b, c] = [a, b, c].map((v) => (v ^ (v >>> 16)) >>> 0);
  return mad(a, b, c);
}

for (const { shape, rate, seed, stream } of [
  { shape: [1], rate: 0.5, seed: 1, stream: 0 },
  { shape: [5, 7], rate: 0.3, seed: 12345, stream: 2 },
  { shape: [3, 3], rate: 0, seed: 9, stream: 0 },
]) {
  test(`dropout of [${shape}] at ${rate}`, () =>
    checkOp({
      name: "dropout",
      inputs: { x: { shape }, seed: { shape: [1], dtype: "u32", values: [seed] } },
      build: (t) => dropout(t.x, rate, t.seed, stream),
      reference: ({ x }) =>
        x.map((v, i) => (pcg3d(i, seed, stream) >= Math.floor(rate * 2 ** 32) ? v / (1 - rate) : 0)),
    }));
}

test("the share of zeros is the rate, and masks of seeds and streams are unrelated", async () => {
  const size = 20_000;
  const [x, seed] = [input("x", [size]), input("seed", [1], "u32")];
  const outputs = { a: dropout(x, 0.25, seed), b: dropout(x, 0.25, seed, 1) };
  const ones = Float32Array.from(draw(size, "off-zero", 1), () => 1);
  const one = await evaluate(outputs, { x: ones, seed: Uint32Array.of(1) });
  const two = await evaluate(outputs, { x: ones, seed: Uint32Array.of(2) });
  const masks = [one.a, one.b, two.a, two.b];
  for (const mask of masks) {
    assert.ok(Math.abs(mask.filter((v) => v === 0).length / size - 0.25) < 0.015);
    for (const other of masks) {
      if (other === mask) continue;
      const both = mask.filter((v, i) => v === 0 && other[i] === 0).length / size;
      assert.ok(Math.abs(both - 0.0625) < 0.01, `both are 0 at ${both}`);
    }
  }
});

test("bad rates and seeds are refused", () => {
  const [x, seed] = [input("x", [2]), input("seed", [1], "u32")];
  assert.throws(() => dropout(x, 1, seed), /at least 0 and below 1/);
  assert.throws(() => dropout(x, 0.5, input("s", [1])), /seed must be u32/);
});

test.after(closeDevice);
test.run();
