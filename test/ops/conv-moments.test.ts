/** Batch norm's statistics where the convolution before it leaves them: against float64's of what that has stored. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { Program } from "#src/graph/program.js";
import { type Precision, storeHalves } from "#src/graph/storage.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { type ConvWay, plainChoice, WINOGRAD } from "#src/ops/conv-choice.js";
import { MATRIX_RUNGS, type MatrixTile, type SubgroupTile, usableUnits } from "#src/ops/conv-matrix.js";
import { RUNGS, type WorkgroupTile } from "#src/ops/conv-tiles.js";
import { WIDE_RUNGS } from "#src/ops/conv-wide.js";
import { batchNorm, conv2d } from "#src/ops/index.js";
import { asGpu, forced } from "../support/forced.js";
import { emulateMatrixUnits } from "../support/matrix-emulation.js";
import { checkOp, closeDevice, draw, relativeError, sameBits, sharedDevice, size, typed } from "../support/op.js";
import { paperProfile, paperUnits } from "../support/profile.js";
import { moments, normalize } from "../support/reference/batch-norm.js";
import * as reference from "../support/reference/conv.js";

// What reads or writes out of bounds shows as a wrong number.
await sharedDevice({ robust: true });

/** A convolution with a bias, and batch norm whose running statistics become the batch's. */
function graph(c: reference.ConvCase) {
  const vector = (name: string) => input(name, [c.filters]);
  const [x, w] = [input("x", c.x), input("w", reference.weightShape(c))];
  const y = conv2d(x, w, { ...c, bias: vector("bias") });
  const [gamma, beta, runningMean, runningVar] = ["gamma", "beta", "mean", "variance"].map(vector);
  const out = batchNorm(y, { gamma, beta, runningMean, runningVar }, { training: true, momentum: 1 });
  return { y, normalized: out.y, mean: out.runningMean, variance: out.runningVar };
}

function shadersOf(profile: Device["profile"], outputs: readonly Tensor[], precision: Precision = "float32") {
  const lowering = new Lowering(profile);
  lowering.lower(reachable(precision === "float16" ? storeHalves(outputs) : outputs));
  return lowering.launches.map(({ kernel }) => kernel.shader as string);
}

interface Given {
  readonly choice: ConvWay;
  readonly precision?: Precision;
  /** Of every channel, and the deviation from it; 0.5 and about 1 by default. */
  readonly mean?: number;
  readonly deviation?: number;
  /** The largest error of a mean, in deviations, and of a variance, relative. */
  readonly bound?: number;
  /** Several workgroups share each sum, and whoever adds their parts leaves no moments. */
  readonly split?: boolean;
}

async function check(device: Device, c: reference.ConvCase, given: Given): Promise<void> {
  const { choice, precision = "float32", mean = 0.5, deviation = 1, bound = 3e-7, split = false } = given;
  const before = device.profile;
  device.profile = { ...before, software: false, tuned: forced(choice) };
  try {
    const outputs = graph(c);
    const shaders = shadersOf(device.profile, Object.values(outputs), precision);
    for (const shader of ["batch_norm_stats", "conv_parts"]) assert.is(shaders.includes(shader), split, `${shaders}`);
    const terms = size(reference.weightShape(c)) / c.filters;
    const fill = (value: number) => new Float32Array(c.filters).fill(value);
    const feeds = {
      x: typed(draw(size(c.x), "uniform", 1)),
      w: typed(draw(terms * c.filters, "uniform", 2).map((v) => (3 * deviation * v) / Math.sqrt(terms))),
      bias: fill(mean),
      ...{ gamma: fill(1), beta: fill(0), mean: fill(0), variance: fill(1) },
    };
    const program = await Program.compile(device, { outputs, precision });
    const names = ["y", "normalized", "mean", "variance"] as const;
    const actual = await program.run(feeds, names);
    const again = await program.run(feeds, names);
    for (const name of names) assert.ok(sameBits(actual[name], again[name]), `${name}: two runs differ in bits`);
    program.destroy();
    const expected = moments(actual.y, c.filters);
    for (const channel of expected.mean.keys()) {
      const spread = Math.sqrt(expected.biased[channel]);
      const off = Math.abs(actual.mean[channel] - expected.mean[channel]);
      // A mean is a float32, and so are those of chunks.
      const digit = 2 ** -23 * Math.abs(expected.mean[channel]);
      assert.ok(off <= bound * spread + digit, `the mean of channel ${channel} is off by ${off / spread} deviations`);
    }
    const error = relativeError(actual.variance, expected.unbiased);
    assert.ok(error <= bound, `variances are off by ${error}`);
    const affine = { gamma: fill(1), beta: fill(0) };
    const values = normalize(actual.y, expected.mean, expected.biased, affine);
    const off = relativeError(actual.normalized, values);
    assert.ok(off <= Math.max(bound, precision === "float16" ? 4e-4 : 0), `values are off by ${off}`);
  } finally {
    device.profile = before;
  }
}

const onTiles = (name: string, c: reference.ConvCase, tile: WorkgroupTile, given: Partial<Given> = {}) =>
  test(name, async () => check(await sharedDevice(), c, { choice: { kernel: "tiled", tile }, ...given }));

/** 156 rows: one tile and 28 rows more, or 4 and 28; more columns than a tile has, and the last tile has 4 of them. */
const ragged: reference.ConvCase = { x: [1, 13, 12, 20], kernel: [1, 1], filters: 132 };
for (const [name, tile] of Object.entries(RUNGS)) onTiles(`rung ${name}`, ragged, tile);

const small = RUNGS["32x32, 4x4"];
/** Means of chunks are off by up to 5e-4 deviations, half of their last digit, whoever makes them. */
const far = { mean: 100, deviation: 0.01, bound: 5e-4 };
const taps: reference.ConvCase = { x: [2, 9, 7, 8], kernel: [3, 3], filters: 12, stride: [2, 2], padding: [1, 1] };
const CASES: Readonly<Record<string, reference.ConvCase>> = {
  "3 x 3, stride 2": taps,
  "fewer rows than a tile": { x: [1, 3, 1, 64], kernel: [1, 1], filters: 64 },
  "one row, whose variance is 0": { x: [1, 1, 1, 8], kernel: [1, 1], filters: 8 },
  "33 rows: one in the last tile": { x: [1, 11, 3, 8], kernel: [1, 1], filters: 36 },
  "folded taps": { x: [2, 20, 13, 3], kernel: [7, 7], filters: 16, stride: [2, 2], padding: [3, 3] },
  "3 groups of channels": { x: [2, 5, 4, 12], kernel: [1, 1], filters: 24, groups: 3 },
  "2 groups of wide channels": { x: [2, 5, 4, 48], kernel: [3, 3], filters: 80, padding: [1, 1], groups: 2 },
  "3 stripes of rows": { x: [5, 6, 4, 8], kernel: [1, 1], filters: 12, groups: 3, split: "rows" },
};
for (const [name, c] of Object.entries(CASES)) onTiles(name, c, small);
onTiles("two buffers", { x: [2, 8, 8, 32], kernel: [1, 1], filters: 48 }, { ...small, buffers: 2 });
onTiles("means far larger than deviations", ragged, RUNGS["128x64, 8x8"], far);
onTiles("maps in float16", { ...ragged, kernel: [3, 3], padding: [1, 1] }, RUNGS["64x64, 8x4"], {
  precision: "float16",
});

const shared = { ...small, splits: 4 };
onTiles("sums in parts", ragged, { ...small, splits: 2 }, { split: true });
onTiles("3 x 3, stride 2, sums in parts", taps, shared, { split: true });
onTiles("maps in float16, sums in parts", taps, shared, { split: true, precision: "float16" });

test("many chunks", async () => {
  const c: reference.ConvCase = { x: [3, 111, 99, 4], kernel: [1, 1], filters: 8 };
  await check(await sharedDevice(), c, { choice: { kernel: "tiled", tile: small } });
});

for (const [how, changed] of [
  ["", {}],
  [", sums in parts", { tuned: forced({ kernel: "tiled", tile: shared }) }],
] as const)
  test(`with gradients, in the middle of a graph${how}`, async () => {
    const c: reference.ConvCase = { x: [2, 7, 5, 8], kernel: [3, 3], filters: 12, padding: [1, 1] };
    const vector = { shape: [c.filters] };
    await asGpu(
      await sharedDevice(),
      () =>
        checkOp({
          name: "convolution and batch norm",
          inputs: {
            x: { shape: c.x },
            w: { shape: reference.weightShape(c) },
            gamma: { ...vector, draw: "off-zero" },
            beta: vector,
            mean: { ...vector, fixed: true },
            variance: { ...vector, fixed: true },
          },
          build: ({ x, w, gamma, beta, mean, variance }) =>
            batchNorm(conv2d(x, w, c), { gamma, beta, runningMean: mean, runningVar: variance }, { training: true }).y,
          reference: ({ x, w, gamma, beta }) => {
            const y = reference.conv2d(x, w, null, c);
            const batch = moments(y, c.filters);
            return normalize(y, batch.mean, batch.biased, { gamma, beta });
          },
          samples: 12,
          gradientBound: 5e-4,
        }),
      changed,
    );
  });

/** With units of its own the adapter makes the rungs; emulated ones, little enough to compile. */
const unitDevice = await Device.open({ robust: "default", matrixUnits: true });
const own = usableUnits(unitDevice.profile) !== undefined;
if (!own) emulateMatrixUnits(unitDevice, paperUnits(8));
test.after(() => unitDevice.close());

const onUnits = (name: string, c: reference.ConvCase, changed: Partial<MatrixTile> = {}, given: Partial<Given> = {}) =>
  test(`${name}, on matrix units`, () => {
    const { lanes, m } = unitDevice.profile.matrixUnits!;
    const rung = MATRIX_RUNGS["32x32 by 2"];
    const tile = { ...rung, ...(lanes === 8 && { rows: m, cols: 16, depth: 16 }), prefetch: 0, ...changed };
    return check(unitDevice, c, { choice: { kernel: "matrix", tile }, bound: 1e-6, ...given });
  });

onUnits("156 rows, columns of more than a tile", { ...ragged, x: [1, 13, 12, 36] });
onUnits("two rows of matrices", { ...ragged, x: [1, 13, 11, 36] }, { rows: 16 });
onUnits("subgroups side by side", { ...ragged, x: [1, 13, 11, 36] }, { subgroupsX: 2 });
onUnits("one row", { x: [1, 1, 1, 36], kernel: [1, 1], filters: 36 });
onUnits("3 x 3, stride 2", { ...taps, filters: 36 });
onUnits("3 groups of channels", { x: [2, 5, 4, 12], kernel: [1, 1], filters: 120, groups: 3 });
onUnits("means far larger than deviations", { ...ragged, x: [1, 13, 12, 36] }, {}, far);
onUnits("sums in parts", { ...taps, filters: 36 }, { splits: 4 }, { split: true });
onUnits("maps in float16", { ...taps, filters: 36 }, {}, { precision: "float16" });

const onWide = (name: string, c: reference.ConvCase, changed: Partial<SubgroupTile> = {}, given: Partial<Given> = {}) =>
  test(`${name}, on matrix units that turn`, () => {
    const { lanes, m } = unitDevice.profile.matrixUnits!;
    const tile = { ...WIDE_RUNGS["32x64 by 2"], ...(lanes === 8 && { rows: m, cols: 16, depth: 16 }), ...changed };
    return check(unitDevice, c, { choice: { kernel: "wide", tile }, bound: 1e-6, ...given });
  });

if (unitDevice.profile.matrixUnits?.components === "f16") {
  onWide("156 rows, columns of more than a tile", { ...ragged, x: [1, 13, 12, 40], filters: 40 });
  onWide(
    "two rows of matrices, two of subgroups",
    { ...ragged, x: [1, 13, 11, 40], filters: 40 },
    { rows: 16, subgroupsY: 2 },
  );
  onWide("one row", { x: [1, 1, 1, 40], kernel: [1, 1], filters: 40 });
  onWide("3 x 3, stride 2", { ...taps, x: [2, 9, 7, 16], filters: 40 });
  onWide("3 groups of channels", { x: [2, 5, 4, 24], kernel: [1, 1], filters: 120, groups: 3 });
  onWide("means far larger than deviations", { ...ragged, x: [1, 13, 12, 40], filters: 40 }, {}, far);
  onWide("maps in float16", { ...taps, x: [2, 9, 7, 16], filters: 40 }, {}, { precision: "float16" });
}

test("batch norm reads no map that a convolution for GPUs has made", () => {
  const c: reference.ConvCase = { x: [8, 24, 8, 64], kernel: [3, 3], filters: 128, padding: [1, 1] };
  const reads = (given: Parameters<typeof paperProfile>[0], filters = c.filters) =>
    shadersOf(paperProfile(given), Object.values(graph({ ...c, filters }))).includes("batch_norm_stats");
  for (const vendor of ["nvidia", "amd", "intel", "apple", "somebody"]) {
    const gpu = { software: false, vendor, subgroupSize: 32 };
    assert.is(reads(gpu), false, vendor);
    assert.is(reads({ ...gpu, matrixUnits: paperUnits(16), workgroupBytes: 49152 }), false, `${vendor}, matrix units`);
    assert.is(reads(gpu, 126), true, "columns in no vectors");
    assert.is(reads({ ...gpu, tuned: forced(WINOGRAD) }), true, "Winograd leaves none");
    const plain = plainChoice(paperProfile(gpu), { rows: 1536, cols: 128, multiple: 4 });
    assert.is(reads({ ...gpu, tuned: forced(plain) }), true, "nor do kernels without workgroup memory");
  }
  for (const subgroupSize of [0, 8]) assert.is(reads({ subgroupSize }), true, "software adapters");
});

test("nothing is left that nobody asks for", () => {
  const [x, w] = [input("x", [8, 24, 8, 64]), input("w", [1, 1, 64, 128])];
  const y = conv2d(x, w);
  const v = ["gamma", "beta", "runningMean", "runningVar"].map((name) => [name, input(name, [128])]);
  const fixed = batchNorm(y, Object.fromEntries(v), { training: false }).y;
  const lowering = new Lowering(paperProfile({ software: false, vendor: "nvidia" }));
  lowering.lower(reachable([fixed]));
  assert.ok(lowering.launches.every(({ bindings }) => !bindings.moments));
});

test.after(closeDevice);
test.run();
