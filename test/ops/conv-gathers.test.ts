/** The kernels for software adapters whose loads are gathers, made to run on whatever software adapter it is; and when they are chosen. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadsByGathers } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import type { Precision } from "#src/graph/storage.js";
import { input } from "#src/graph/tensor.js";
import { type ConvChoice, type ConvProblem, chooseConv, problemKey } from "#src/ops/conv-choice.js";
import { chooseStationary } from "#src/ops/conv-geometry.js";
import { batchNorm, conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { withForced } from "../support/forced.js";
import { closeDevice, draw, sameBits, sharedDevice, typed } from "../support/op.js";
import { paperProfile } from "../support/profile.js";
import * as reference from "../support/reference/conv.js";

const device = await sharedDevice();
const lanes = device.profile.subgroupSize;
/** Few terms: LLVM takes minutes for more where loads are no gathers. */
const held = (unrolled: number, { elem, aElem }: Vectors = { elem: 4, aElem: 1 }): ConvChoice => ({
  kernel: "stationary",
  tile: { elem, tv: 1, aElem, chunk: aElem === 4 ? 32 : 24, lanes, unrolled },
});
type Vectors = { readonly elem: 1 | 4; readonly aElem: 1 | 4 };

/** y, dx and dw of a convolution and the batch norm behind it. */
async function computed({ c, vectors, precision, read = ["y", "dx", "dw"] }: Case, unrolled: number) {
  const before = device.profile;
  device.profile = { ...before, gathers: unrolled === 1 };
  try {
    return await withForced(device, held(unrolled, vectors), async () => {
      const [x, w] = [input("x", c.x), input("w", reference.weightShape(c))];
      const channels = ["gamma", "beta", "mean", "variance"].map((name) => input(name, [c.filters]));
      const [gamma, beta, runningMean, runningVar] = channels;
      const normed = batchNorm(
        conv2d(x, w, c),
        { gamma, beta, runningMean, runningVar },
        { training: true, relu: true },
      );
      const dy = input("dy", normed.y.shape);
      const [dx, dw] = gradients(sum(mul(normed.y, dy)), [x, w]);
      const all = { y: normed.y, dx: dx!, dw: dw! };
      const outputs = Object.fromEntries(read.map((name) => [name, all[name]]));
      const program = await Program.compile(device, { outputs, precision });
      const leaves = [x, w, ...channels, dy].filter(({ name }) => program.takes(name));
      const feeds = leaves.map((t, i) => [t.name, typed(draw(t.size, "off-zero", i + 1))]);
      const values = await program.run(Object.fromEntries(feeds), read);
      program.destroy();
      return values;
    });
  } finally {
    device.profile = before;
  }
}

interface Case {
  readonly c: reference.ConvCase;
  readonly vectors: Vectors;
  readonly precision?: Precision;
  readonly read?: readonly ("y" | "dx" | "dw")[];
}

const CASES: Readonly<Record<string, Case>> = {
  "columns in vectors, weights read turned": {
    c: { x: [2, 9, 7, 80], kernel: [1, 1], filters: 96 },
    vectors: { elem: 4, aElem: 1 },
  },
  "3 x 3, stride 2, odd sizes": {
    c: { x: [1, 13, 11, 32], kernel: [3, 3], filters: 64, stride: [2, 2], padding: [1, 1] },
    vectors: { elem: 1, aElem: 4 },
  },
  "2 groups, 3 x 3": {
    c: { x: [2, 6, 5, 64], kernel: [3, 3], filters: 80, padding: [1, 1], groups: 2 },
    vectors: { elem: 1, aElem: 4 },
  },
  "sums in float32 of maps in float16": {
    c: { x: [2, 9, 8, 64], kernel: [3, 3], filters: 64, padding: [1, 1] },
    vectors: { elem: 1, aElem: 1 },
    precision: "float16",
    read: ["y"],
  },
};
/** Elsewhere no such kernel is ever chosen. */
const onlyHere = device.profile.software && lanes === 8 ? test : test.skip;
for (const [name, one] of Object.entries(CASES))
  onlyHere(`code without loops gives the bits of that with them: ${name}`, async () => {
    const [loops, unrolled] = [await computed(one, 0), await computed(one, 1)];
    for (const [name, values] of Object.entries(loops))
      assert.ok(sameBits(values, unrolled[name as keyof typeof loops]), name);
  });

test("adapters whose loads are gathers are known by what they say of themselves", () => {
  const says = (llvmpipe: string, mesa: string) => loadsByGathers(`${llvmpipe} Mesa ${mesa} (LLVM 19.1.7)`);
  assert.ok(says("llvmpipe (LLVM 19.1.7, 256 bits)", "26.1.6-1~bpo13+1"));
  assert.ok(says("llvmpipe-llvm-19-1-7-256-bits-", "26.0.0"));
  assert.ok(says("llvmpipe (LLVM 20.1.0, 512 bits)", "27.0.1"));
  assert.not(says("llvmpipe (LLVM 15.0.6, 256 bits)", "25.0.7-2~bpo12+1"));
  assert.not(says("llvmpipe (LLVM 19.1.7, 128 bits)", "26.1.6"), "a CPU without AVX2 has no gathers");
  assert.not(loadsByGathers("NVIDIA H200 570.86 Mesa 26.1"));
  assert.not(loadsByGathers("llvmpipe"), "browsers do not tell the version");
});

test("code without loops is for gathers alone, whatever a table of tuned choices says", () => {
  const subgroupSize = [4, 8, 16].includes(lanes) ? lanes : 8;
  const [loops, gathers] = [false, true].map((g) => paperProfile({ subgroupSize, gathers: g }));
  const product = { rows: 3072, cols: 256, multiple: 4, inner: 256, aMultiple: 4 } as const;
  assert.is(chooseStationary(loops, product)?.unrolled, 0);
  assert.is(chooseStationary(gathers, product)?.unrolled, 1);
  const problem: ConvProblem = {
    ...product,
    gather: "forward",
    taps: 1,
    stride: [1, 1],
    groups: 1,
    pointwise: true,
    halves: [],
  };
  const key = problemKey(problem);
  const chosen = (profile: typeof loops, choice: ConvChoice) =>
    chooseConv({ ...profile, tuned: { [key]: choice } }, problem);
  const of = (unrolled: number): ConvChoice => ({
    kernel: "stationary",
    tile: { elem: 4, tv: 1, aElem: 1, chunk: subgroupSize === 16 ? 32 : 24, lanes: subgroupSize, unrolled },
  });
  assert.equal(chosen(gathers, of(0)), of(0));
  assert.equal(chosen(gathers, of(1)), of(1));
  assert.equal(chosen(loops, of(1)), chooseConv(loops, problem));
});

test.after(closeDevice);
test.run();
