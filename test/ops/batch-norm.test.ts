import { test } from "uvu";
import * as assert from "uvu/assert";
import { Lowering } from "#src/graph/lowering.js";
import { rematerialise } from "#src/graph/rematerialise.js";
import { input, reachable, type Shape, type Tensor } from "#src/graph/tensor.js";
import { type BatchNormVectors, batchNorm, gradients, mul, relu, sum } from "#src/ops/index.js";
import { asGpu } from "../support/forced.js";
import {
  checkOp,
  closeDevice,
  draw,
  evaluate,
  half,
  relativeError,
  sameBits,
  sharedDevice,
  size,
  typed,
} from "../support/op.js";
import { paperProfile } from "../support/profile.js";
import { moments, normalize } from "../support/reference/batch-norm.js";

const shapes: Shape[] = [
  [2, 5, 3, 4],
  [2, 5, 3, 7],
  [1, 1, 1, 5],
  [1, 1, 1, 8],
  [9, 1],
  [3, 130, 2],
  [1, 70, 10, 12],
];

/** A test on the adapter that there is, and once more with the kernels for GPUs. */
function onBoth(name: string, run: () => Promise<void>): void {
  test(name, run);
  test(`${name}, as on a GPU`, async () => asGpu(await sharedDevice(), run));
}

/** Values and gradients of one way of normalising, against float64's. */
function checked(shape: Shape, training: boolean, relu: boolean, summed: boolean): void {
  const channels = shape[shape.length - 1];
  const name = `${training ? "training" : "evaluation"} of [${shape}]${relu ? ", ReLU" : ""}${summed ? ", residual" : ""}`;
  test(name, () =>
    checkOp({
      name,
      inputs: {
        x: { shape },
        gamma: { shape: [channels], draw: "off-zero" },
        beta: { shape: [channels] },
        ...(summed && { residual: { shape } }),
        mean: { shape: [channels], fixed: true },
        variance: {
          shape: [channels],
          fixed: true,
          values: Array.from({ length: channels }, (_, c) => 0.25 + c / 16),
        },
      },
      build: ({ x, gamma, beta, residual, mean, variance }) =>
        batchNorm(x, { gamma, beta, runningMean: mean, runningVar: variance }, { training, relu, residual }).y,
      reference: ({ x, gamma, beta, residual, mean, variance }) => {
        const batch = moments(x, channels);
        const affine = { gamma, beta, residual, relu };
        return training ? normalize(x, batch.mean, batch.biased, affine) : normalize(x, mean, variance, affine);
      },
      samples: 48,
      gradientBound: 5e-4,
    }),
  );
}

for (const shape of shapes)
  for (const training of [true, false])
    for (const relu of [false, true]) for (const summed of [false, true]) checked(shape, training, relu, summed);

// Chunks that many invocations of a GPU merge.
checked([2, 140, 31, 3], true, true, true);
checked([1, 33_001, 1], true, false, false);

/** Running statistics and affine vectors as inputs: the update then overwrites the input's own buffer. */
function vectors(channels: number): BatchNormVectors {
  const [gamma, beta, runningMean, runningVar] = ["gamma", "beta", "mean", "var"].map((n) => input(n, [channels]));
  return { gamma, beta, runningMean, runningVar };
}

/** Feeds of `vectors`: gamma 1, beta 0, running mean 0, running variance 1. */
function initial(channels: number) {
  const fill = (value: number) => new Float32Array(channels).fill(value);
  return { gamma: fill(1), beta: fill(0), mean: fill(0), var: fill(1) };
}

/** Running statistics of `initial`. */
const normal = (channels: number) => ({ mean: new Float64Array(channels), biased: new Float64Array(channels).fill(1) });

const moved = (from: number, to: Float64Array, momentum = 0.1) => to.map((v) => (1 - momentum) * from + momentum * v);

async function running(shape: Shape, values: Float64Array) {
  const x = input("x", shape);
  const channels = shape[shape.length - 1];
  const { y, runningMean, runningVar } = batchNorm(x, vectors(channels), { training: true });
  return evaluate({ y, runningMean, runningVar }, { x: typed(values), ...initial(channels) });
}

onBoth("running statistics move by 0.1, the variance being the unbiased one", async () => {
  for (const shape of [
    [2, 3, 3, 5],
    [1, 9, 8],
  ]) {
    const values = draw(size(shape), "uniform", 5);
    const { mean, unbiased } = moments(values, shape[shape.length - 1]);
    const { runningMean, runningVar } = await running(shape, values);
    assert.ok(relativeError(runningMean, moved(0, mean)) < 1e-6);
    assert.ok(relativeError(runningVar, moved(1, unbiased)) < 1e-6);
  }
});

onBoth("one row leaves its values as the mean, a variance of 0, and nothing that is not finite", async () => {
  const values = Float64Array.of(3, -2, 0.5);
  const { y, runningMean, runningVar } = await running([1, 3], values);
  assert.equal([...y], [0, 0, 0]);
  assert.ok(relativeError(runningMean, moved(0, values)) < 1e-6);
  assert.ok(relativeError(runningVar, [0.9, 0.9, 0.9]) < 1e-6);
});

onBoth("a mean far larger than the deviation costs no digits of the variance", async () => {
  for (const channels of [3, 4]) {
    const shape = [600, channels];
    const values = draw(size(shape), "uniform", 3).map((v) => Math.fround(1000 + 0.1 * v));
    const { mean, biased, unbiased } = moments(values, channels);
    const { y, runningVar } = await running(shape, values);
    const variance = runningVar.map((v) => (v - 0.9) / 0.1);
    assert.ok(relativeError(variance, unbiased) < 1e-3, `variance off by ${relativeError(variance, unbiased)}`);
    // The mean itself has 7 digits: half of its last one is 3e-5, of a deviation of 0.06.
    const error = relativeError(
      y,
      normalize(values, mean, biased, { gamma: new Float64Array(channels).fill(1), beta: new Float64Array(channels) }),
    );
    assert.ok(error < 2e-3, `y off by ${error}`);
  }
});

onBoth("statistics and values are off by a rounding or two, over few rows and over many", async () => {
  const channels = 64;
  for (const rows of [64, 33_000]) {
    const values = draw(rows * channels, "uniform", 11).map((v) => Math.fround(0.3 + v));
    const { mean, biased, unbiased } = moments(values, channels);
    const v = vectors(channels);
    const out = batchNorm(input("x", [rows, channels]), v, { training: true, momentum: 1 });
    const { y, variance } = await evaluate(
      { y: out.y, variance: out.runningVar, mean: out.runningMean },
      { x: typed(values), ...initial(channels) },
    );
    const { gamma, beta } = initial(channels);
    const expected = normalize(values, mean, biased, { gamma, beta });
    assert.ok(relativeError(variance, unbiased) < 1.5e-7, `variance off by ${relativeError(variance, unbiased)}`);
    assert.ok(relativeError(y, expected) < 8e-8, `y off by ${relativeError(y, expected)}`);
  }
});

/** Gradients of batch norm with ReLU by x, gamma and beta, with and without a residual. */
function reluGradients(shape: Shape, training: boolean, residual?: Tensor) {
  const v = vectors(shape[shape.length - 1]);
  const x = input("x", shape);
  const { y } = batchNorm(x, v, { training, relu: true, residual });
  const [dx, dgamma, dbeta] = gradients(sum(mul(y, input("dy", shape))), [x, v.gamma, v.beta]);
  return { y, dx: dx!, dgamma: dgamma!, dbeta: dbeta! };
}

// With a residual GPUs read y for the mask; zeros leave y as it is.
for (const precision of ["float32", "float16"] as const) {
  for (const channels of [12, 5]) {
    test(`a mask made from x is the one that y would give, to the bit, ${channels} channels in ${precision}`, async () => {
      const device = await sharedDevice();
      if (precision === "float16" && !device.gpu.features.has("shader-f16")) return;
      const shape = [3, 31, 41, channels];
      const noise = draw(size(shape), "uniform", 4);
      // Six values a channel, one of which lies on the border but for roundings.
      const levels = draw(6 * channels, "uniform", 5).map(half);
      const few = noise.map((v, i) => levels[Math.floor(3 + 2.99 * Math.tanh(v)) * channels + (i % channels)]);
      // In halves the least of these are stored as 0.
      for (const scale of [1, 2 ** -24])
        for (const x of [noise, few])
          for (const training of [true, false]) {
            const gamma = draw(channels, "off-zero", 7).map((v) => scale * v);
            const { mean, biased } = training ? moments(x, channels) : normal(channels);
            const beta = gamma.map((g, c) => ((mean[c] - levels[c]) * g) / Math.sqrt(biased[c] + 1e-5));
            const affine = { ...initial(channels), gamma: typed(gamma), beta: typed(beta) };
            const feeds = { ...affine, x: typed(x), dy: typed(draw(size(shape), "uniform", 6)) };
            const [made, read] = await asGpu(device, async () => [
              await evaluate(reluGradients(shape, training), feeds, precision),
              await evaluate(
                reluGradients(shape, training, input("zeros", shape)),
                { ...feeds, zeros: new Float32Array(size(shape)) },
                precision,
              ),
            ]);
            assert.ok(made.dx.some((v) => v !== 0));
            for (const [name, value] of Object.entries(made)) assert.ok(sameBits(value, read[name as "y"]), name);
          }
    });
  }
}

function launchesOn(software: boolean, outputs: readonly Tensor[]) {
  const profile = paperProfile({ software });
  const lowering = new Lowering(profile);
  lowering.lower(reachable(outputs, profile));
  return lowering.launches;
}

test("on GPUs a gradient reads y only where there is a residual", () => {
  const shape = [2, 6, 4, 8];
  const reads = (software: boolean, residual?: Tensor) => {
    const { dx, dgamma } = reluGradients(shape, true, residual);
    return launchesOn(software, [dx, dgamma])
      .filter(({ kernel }) => kernel.shader.startsWith("batch_norm_grad"))
      .map(({ bindings }) => bindings.y !== undefined);
  };
  assert.equal(reads(false), [false, false, false]);
  assert.equal(reads(false, input("residual", shape)), [true, false, true]);
  assert.equal(reads(true), [true, false, true]);
});

test("a map that the backward pass wants for a mask alone is made again on software adapters, and on GPUs if it is asked for", () => {
  const x = input("x", [2, 6, 4, 8]);
  const loss = sum(batchNorm(relu(x), vectors(8), { training: true, relu: true }).y);
  const [dx] = rematerialise([gradients(loss, [x])[0]!], loss);
  const made = (software: boolean, outputs: readonly Tensor[]) =>
    launchesOn(software, outputs).filter(({ label }) => label === "batchNormApply").length;
  assert.is(made(true, [dx]), 1);
  assert.is(made(false, [dx]), 0);
  const again = reachable([dx]).find(({ op }) => op.name === "batchNormApply")!;
  assert.is(made(false, [dx, again.outputs[0]]), 1);
});

test("twice in one graph moves the running statistics twice, in order", async () => {
  const [a, b] = [input("a", [6, 5]), input("b", [4, 5])];
  const v = vectors(5);
  const { runningMean, runningVar } = batchNorm(a, v, { training: true });
  const second = batchNorm(b, { ...v, runningMean, runningVar }, { training: true });
  const [av, bv] = [draw(30, "uniform", 1), draw(20, "uniform", 2)];
  const values = await evaluate(
    { mean: second.runningMean, variance: second.runningVar, y: second.y },
    { a: typed(av), b: typed(bv), ...initial(5) },
  );
  const twice = (start: number, of: "mean" | "unbiased") => {
    const once = moved(start, moments(av, 5)[of]);
    return moments(bv, 5)[of].map((m, c) => 0.9 * once[c] + 0.1 * m);
  };
  assert.ok(relativeError(values.mean, twice(0, "mean")) < 1e-6);
  assert.ok(relativeError(values.variance, twice(1, "unbiased")) < 1e-6);
});

test("evaluation leaves the running statistics as they are", () => {
  const v = vectors(4);
  const out = batchNorm(input("x", [2, 4]), v, { training: false });
  assert.is(out.runningMean, v.runningMean);
  assert.is(out.runningVar, v.runningVar);
});

test("vectors and residuals of another shape are refused", () => {
  const x = input("x", [2, 3, 4]);
  assert.throws(() => batchNorm(x, vectors(3), { training: true }), /batch norm's vectors must be \[4\], got \[3\]/);
  assert.throws(
    () => batchNorm(x, vectors(4), { training: true, residual: input("r", [2, 4]) }),
    /the residual must be \[2,3,4\], got \[2,4\]/,
  );
});

test.after(closeDevice);
test.run();
