/** Products whose sums several workgroups share: conv_tiled.wgsl makes parts, conv_parts.wgsl adds and finishes them. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { DeviceProfile } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { fuse } from "#src/graph/passes.js";
import { type Precision, storeHalves } from "#src/graph/storage.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { describeChoice, neighbours } from "#src/ops/conv-candidates.js";
import {
  type ConvChoice,
  type ConvProblem,
  type ConvWay,
  choiceFits,
  plainChoice,
  WINOGRAD,
} from "#src/ops/conv-choice.js";
import { MATRIX_RUNGS, matrixTile } from "#src/ops/conv-matrix.js";
import { chooseRung, ladderOf, partsOf, RUNGS, tileFits, tileSize, type WorkgroupTile } from "#src/ops/conv-tiles.js";
import { batchNorm, conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { asGpu, forced } from "../support/forced.js";
import { checkOp, closeDevice, draw, evaluate, half, relativeError, sharedDevice, typed } from "../support/op.js";
import { paperProfile, paperUnits } from "../support/profile.js";
import { normalize } from "../support/reference/batch-norm.js";
import * as reference from "../support/reference/conv.js";

// A software adapter forgives an index that a GPU's 64 bits of address would not.
const device = await sharedDevice({ robust: true });

const small = RUNGS["32x32, 4x4"];
const tiled = (tile: WorkgroupTile): ConvChoice => ({ kernel: "tiled", tile });
const on = <T>(choice: ConvWay, run: () => Promise<T>) => asGpu(device, run, { tuned: forced(choice) });

/** Numbers of parts of each product forward that is split, in the order in which they run. */
function partsMade(outputs: readonly Tensor[], precision: Precision): number[] {
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable(precision === "float16" ? storeHalves(outputs) : outputs));
  return lowering.launches
    .filter(({ kernel }) => kernel.shader === "conv_parts")
    .map(({ params }) => params!.parts as number);
}

function graphOf(c: reference.ConvCase) {
  const [x, w] = [input("x", c.x), input("w", reference.weightShape(c))];
  const y = conv2d(x, w, c);
  const dy = input("dy", y.shape);
  const [dx] = gradients(sum(mul(y, dy)), [x]);
  return { leaves: [x, w, dy], outputs: { y, dx: dx! } };
}

/**
 * Values and sampled gradients against float64, the same bits twice, and every element against the kernel without workgroup memory.
 * @param parts of y, then of dx, one number for each parity of the stride that has any
 */
function check(
  name: string,
  tile: WorkgroupTile,
  c: reference.ConvCase,
  parts: readonly number[],
  precision: Precision = "float32",
) {
  test(name, async () => {
    const halves = precision === "float16";
    await on(tiled(tile), async () => {
      assert.equal(partsMade(Object.values(graphOf(c).outputs), precision), parts);
      await checkOp({
        name,
        inputs: { x: { shape: c.x, map: true }, w: { shape: reference.weightShape(c) }, bias: { shape: [c.filters] } },
        build: ({ x, w, bias }) => conv2d(x, w, { ...c, bias }),
        reference: ({ x, w, bias }) => reference.conv2d(x, w, bias, c),
        samples: 6,
        precision,
        ...(halves && { bound: 1.01 * 2 ** -11, gradientBound: 2.5 * 2 ** -11 }),
      });
    });
    const computed = (choice: ConvChoice) =>
      on(choice, async () => {
        const { leaves, outputs } = graphOf(c);
        const drawn = (t: Tensor, i: number) => draw(t.size, "uniform", i + 1).map(halves ? half : Math.fround);
        return evaluate(outputs, Object.fromEntries(leaves.map((t, i) => [t.name, typed(drawn(t, i))])), precision);
      });
    const actual = await computed(tiled(tile));
    const expected = await computed(plainChoice(device.profile, { rows: 1, cols: 1, multiple: 1 }));
    for (const key of ["y", "dx"]) {
      const error = relativeError(actual[key], expected[key]);
      assert.ok(error < (halves ? 3e-4 : 1e-5), `${key} is off by ${error}`);
    }
  });
}

const three = { kernel: [3, 3], padding: [1, 1] } as const;
// 117 rows, 68 terms of a depth of 16: five slices, the last one ragged. Seven of 100.
check("1 x 1, ragged all ways", { ...small, splits: 2 }, { x: [1, 13, 9, 68], kernel: [1, 1], filters: 100 }, [2, 2]);
// Parts of 2 slices: 5 are three parts, 7 are four.
check(
  "fewer parts than asked for",
  { ...small, splits: 4 },
  { x: [1, 13, 9, 68], kernel: [1, 1], filters: 100 },
  [3, 4],
);
// Nine taps of 20 terms and of 40: 18 slices, and 27.
check(
  "3 x 3, parts that begin within a tap",
  { ...small, splits: 8 },
  { x: [2, 7, 5, 20], filters: 40, ...three },
  [6, 7],
);
check("3 x 3, whole slices", { ...small, splits: 4 }, { x: [2, 8, 4, 32], filters: 32, ...three }, [4, 4]);
check(
  "3 x 3, whole slices, two buffers, no prefetch",
  { ...small, buffers: 2, prefetch: 0, splits: 4 },
  { x: [2, 8, 4, 32], filters: 32, ...three },
  [4, 4],
);
check("8 x 8 outputs", { ...RUNGS["128x64, 8x8"], splits: 16 }, { x: [2, 9, 9, 24], filters: 72, ...three }, [14, 14]);
// Of a gradient's four parities one sees four taps, two see two, and one a single tap of three slices.
check(
  "3 x 3, stride 2, odd sizes",
  { ...small, splits: 2 },
  { x: [2, 9, 7, 24], filters: 36, stride: [2, 2], ...three },
  [2, 2, 2, 2, 2],
);
check(
  "1 x 1, stride 2: pixels that no output sees",
  { ...small, splits: 2 },
  { x: [2, 7, 5, 40], kernel: [1, 1], filters: 36, stride: [2, 2] },
  [2, 2],
);
check("odd channels", { ...small, splits: 4 }, { x: [2, 5, 6, 37], filters: 19, ...three }, [4, 4]);
check("groups of channels", { ...small, splits: 2 }, { x: [2, 5, 4, 72], filters: 60, groups: 2, ...three }, [2, 2]);
check(
  "stripes of rows",
  { ...small, splits: 2 },
  { x: [2, 8, 4, 40], kernel: [1, 1], filters: 96, groups: 2, split: "rows" },
  [2, 2],
);
check(
  "7 x 7, folded taps",
  { ...small, splits: 4 },
  { x: [1, 20, 13, 3], kernel: [7, 7], filters: 16, stride: [2, 2], padding: [3, 3] },
  [4, 3, 4, 4, 4],
);
if (device.gpu.features.has("shader-f16")) {
  check("maps in float16", { ...small, splits: 4 }, { x: [2, 7, 5, 36], filters: 40, ...three }, [4, 4], "float16");
  check(
    "maps in float16, odd channels",
    { ...small, splits: 4 },
    { x: [2, 7, 5, 37], filters: 39, ...three },
    [4, 4],
    "float16",
  );
}

for (const precision of ["float32", "float16"] as const)
  for (const channels of [36, 35])
    test(`batch norm, residual sum and ReLU are done to the sum of the parts, ${channels} channels in ${precision}`, () =>
      on(tiled({ ...small, splits: 4 }), async () => {
        const c: reference.ConvCase = { x: [1, 9, 5, channels], filters: channels, ...three };
        const variance = Array.from({ length: channels }, (_, i) => 0.25 + i / 16);
        await checkOp({
          name: "folded",
          inputs: {
            x: { shape: c.x, map: true },
            w: { shape: reference.weightShape(c) },
            gamma: { shape: [channels], draw: "off-zero" },
            beta: { shape: [channels] },
            mean: { shape: [channels], fixed: true },
            variance: { shape: [channels], fixed: true, values: variance },
          },
          build: ({ x, w, gamma, beta, mean, variance }) => {
            const vectors = { gamma, beta, runningMean: mean, runningVar: variance };
            const { y } = batchNorm(conv2d(x, w, c), vectors, { training: false, relu: true, residual: x });
            const fused = fuse([y]);
            assert.is(fused[0].node!.op.name, "conv2d");
            assert.equal(partsMade(fused, precision), [4]);
            return fused[0];
          },
          reference: ({ x, w, gamma, beta, mean, variance }) =>
            normalize(reference.conv2d(x, w, null, c), mean, variance, { gamma, beta, residual: x, relu: true }),
          samples: 0,
          precision,
          bound: precision === "float16" ? 1.01 * 2 ** -11 : 1e-5,
        });
      }));

test("what is added to an input's gradient is added once", () =>
  on(tiled({ ...small, splits: 4 }), async () => {
    const c: reference.ConvCase = { x: [1, 9, 6, 40], filters: 40, ...three };
    const [x, w] = [input("x", c.x), input("w", reference.weightShape(c))];
    const [dx] = gradients(sum(mul(conv2d(x, w, c), x)), [x]);
    const lowering = new Lowering(device.profile);
    lowering.lower(reachable([dx!]));
    const finishing = lowering.launches.filter(({ kernel }) => kernel.shader === "conv_parts");
    assert.equal(
      finishing.map(({ kernel }) => kernel.defines!.RESIDUAL),
      [false, true],
    );
    await checkOp({
      name: "two readers",
      inputs: { x: { shape: c.x }, w: { shape: reference.weightShape(c) } },
      build: ({ x, w }) => mul(conv2d(x, w, c), x),
      reference: ({ x, w }) => reference.conv2d(x, w, null, c).map((v, i) => v * x[i]),
      samples: 12,
    });
  }));

test("the products of Winograd's transforms may be split", () => {
  const tile = { ...small, splits: 2 };
  // The direct product is Winograd's, and all else takes the tile.
  const tuned = new Proxy({}, { get: (_, key) => (/^forward .* of 9x/.test(String(key)) ? WINOGRAD : tiled(tile)) });
  return asGpu(
    device,
    async () => {
      const c: reference.ConvCase = { x: [1, 9, 6, 64], filters: 68, ...three };
      assert.equal(partsMade([conv2d(input("x", c.x), input("w", reference.weightShape(c)), c)], "float32"), [2]);
      await checkOp({
        name: "Winograd",
        inputs: { x: { shape: c.x }, w: { shape: reference.weightShape(c) } },
        build: ({ x, w }) => conv2d(x, w, c),
        reference: ({ x, w }) => reference.conv2d(x, w, null, c),
        samples: 0,
      });
    },
    { tuned },
  );
});

/** As an inference of one image has it in ResNet-50's last stage: 192 rows. */
const problem = (given: Partial<ConvProblem> = {}): ConvProblem => ({
  gather: "forward",
  rows: 192,
  cols: 512,
  inner: 512,
  taps: 9,
  stride: [1, 1],
  groups: 1,
  multiple: 4,
  aMultiple: 4,
  pointwise: false,
  halves: [],
  ...given,
});
const gpu = (vendor: string, given: Partial<DeviceProfile> = {}) =>
  paperProfile({ software: false, vendor, subgroupSize: 32, ...given });

test("sums are split where rows are few and sums long, with tiles that are larger than without", () => {
  const chosen = (given: Partial<ConvProblem>) => {
    const { rows, cols, splits } = tileSize(chooseRung(gpu("nvidia"), problem(given))!);
    return `${rows}x${cols} in ${splits}`;
  };
  assert.is(chosen({}), "64x64 in 16", "24 tiles for 128 units");
  assert.is(chosen({ gather: "inputGrad" }), "64x64 in 16");
  assert.is(chosen({ taps: 1, inner: 2048, pointwise: true }), "64x64 in 8");
  assert.is(chosen({ cols: 256 }), "64x64 in 16", "12 tiles");
  assert.is(chosen({ cols: 2048, taps: 1, inner: 1024, pointwise: true }), "32x32 in 1", "a pass would take as long");
  assert.is(chosen({ inner: 64, taps: 1, pointwise: true }), "32x32 in 1", "four slices");
  assert.is(chosen({ rows: 32 * 192 }), "64x128 in 1", "384 tiles");
  assert.is(chosen({ gather: "weightGrad", rows: 512, inner: 192 }).split(" in ")[1], "1");
  const units = { matrixUnits: paperUnits(16), workgroupBytes: 49152 };
  const matrix = (given: Partial<ConvProblem>) => matrixTile(gpu("nvidia", units), problem(given))!.splits;
  assert.ok(matrix({}) > 1);
  assert.is(matrix({ rows: 32 * 192 }), 1);
  assert.is(matrixTile(gpu("nvidia", { ...units, software: true }), problem())!.splits, 1);
  assert.is(matrix({ gather: "weightGrad", rows: 512, inner: 192 }), 1);
});

test("a part has slices enough, parts are no more than what is read, and nothing that fills the machine is split", () => {
  let split = 0;
  for (const vendor of ["nvidia", "amd", "intel", "apple", "somebody"])
    for (const gather of ["forward", "inputGrad"] as const)
      for (const rows of [8, 48, 192, 768, 3072, 6144, 98304])
        for (const cols of [64, 70, 256, 2048])
          for (const [taps, inner] of [
            [1, 64],
            [1, 1024],
            [9, 64],
            [9, 512],
            [4, 37],
          ])
            for (const groups of [1, 6]) {
              const p = problem({ gather, rows, cols, taps, inner, groups });
              const tile = chooseRung(gpu(vendor), p)!;
              assert.ok(tileFits(gpu(vendor), p, tile));
              if (tile.splits === 1) continue;
              split++;
              const size = tileSize(tile);
              const { parts, slices } = partsOf(p, size);
              assert.ok(slices >= 16 && parts <= tile.splits);
              const all = taps * Math.ceil(inner / tile.depth);
              assert.ok(parts * slices >= all && (parts - 1) * slices < all, "each slice once, and no part without");
              assert.ok(tile.splits * rows * cols <= rows * inner + taps * inner * cols);
              const made = Math.ceil(rows / size.rows) * Math.ceil(cols / size.cols) * groups;
              assert.ok(made < ladderOf(gpu(vendor)).fill);
            }
  assert.ok(split > 50);
});

test("a number of parts from a file is taken where it can be made", () => {
  const tile = RUNGS["64x64, 8x4"];
  const fits = (splits: number, given: Partial<ConvProblem> = {}, profile = gpu("nvidia")) =>
    tileFits(profile, problem(given), { ...tile, splits });
  for (const splits of [1, 2, 4, 8, 16]) assert.ok(fits(splits));
  for (const splits of [0, -1, 0.5, 3, 32, 2 ** 20, Number.NaN, undefined as unknown as number])
    assert.not.ok(fits(splits), String(splits));
  assert.not.ok(fits(2, { gather: "weightGrad" }));
  assert.not.ok(fits(4, { taps: 1, inner: 48 }), "three slices");
  assert.not.ok(fits(2, { taps: 0 }), "pixels that no output sees");
  assert.not.ok(fits(2, { rows: 6144 }), "768 workgroups");
  assert.not.ok(fits(16, {}, gpu("nvidia", { maxBindingBytes: 2 ** 22 })), "6 MiB of parts");
  const units = gpu("nvidia", { matrixUnits: paperUnits(16), workgroupBytes: 49152 });
  const onUnits = (splits: number) =>
    choiceFits(units, problem(), { kernel: "matrix", tile: { ...MATRIX_RUNGS["64x64 by 4"], splits } });
  assert.equal([1, 2, 3, 8, 32].map(onUnits), [true, true, false, true, false]);
});

test("a tuner tries twice and half as many parts, where workgroups are few", () => {
  const profile = gpu("nvidia");
  const tried = (given: Partial<ConvProblem>, splits: number) =>
    neighbours(profile, problem(given), tiled({ ...RUNGS["64x64, 8x4"], splits }))
      .map((c) => c.tile as WorkgroupTile)
      .filter((t) => t.splits !== splits)
      .map((t) => t.splits);
  assert.equal(tried({}, 1), [2]);
  assert.equal(tried({}, 4), [2, 8]);
  assert.equal(tried({}, 16), [8]);
  assert.equal(tried({ rows: 6144 }, 1), []);
  assert.equal(tried({ gather: "weightGrad" }, 1), []);
  assert.match(describeChoice(tiled({ ...small, splits: 4 })), /, sums in 4 parts$/);
  assert.not.match(describeChoice(tiled(small)), /parts/);
});

test.after(closeDevice);
test.run();
