/** The self-check: kernels against float64, a training step against its own finite difference, and two runs' bits. */
import type { Device } from "../../gpu/device.js";
import { Program, type Values } from "../../graph/program.js";
import { input, type Tensor } from "../../graph/tensor.js";
import { featureSize, parseModelConfig } from "../../models/config.js";
import { ParameterStore } from "../../nn/parameters.js";
import { batchNorm, conv2d, gradients, matmul, mul, softmaxCrossEntropy, sum } from "../../ops/index.js";
import { seededRng, uniform } from "../../random.js";
import { partLabels, trainingStep } from "../../training/step.js";
import { batchNormalization, type ConvCase, convOutput, convolution, crossEntropy, product } from "./references.js";

export interface SelfCheck {
  readonly name: string;
  /** Largest relative error (L2) that passes. */
  readonly bound: number;
  /** The worst relative error of what is compared. */
  run(device: Device): Promise<number>;
}

/** Numbers in [-1, 1) that float32 holds exactly. */
function noise(shape: readonly number[], seed: number): Float64Array {
  const rng = seededRng(seed);
  const length = shape.reduce((a, b) => a * b, 1);
  return Float64Array.from({ length }, () => Math.fround(uniform(rng, -1, 1)));
}

/** Runs a graph and returns the worst relative error of its outputs. NaN is infinitely wrong. */
async function compare(
  device: Device,
  outputs: Readonly<Record<string, Tensor | null>>,
  feeds: Readonly<Record<string, Values>>,
  expected: Readonly<Record<string, Float64Array>>,
): Promise<number> {
  const made = Object.entries(outputs).map(([name, t]): [string, Tensor] => {
    if (!t) throw new Error(`${name} has no gradient`);
    return [name, t];
  });
  const program = await Program.compile(device, { outputs: Object.fromEntries(made) });
  try {
    const values = await program.run(
      feeds,
      made.map(([name]) => name),
    );
    return Math.max(...made.map(([name]) => relativeError(values[name], expected[name])));
  } finally {
    program.destroy();
  }
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  const error = Math.sqrt(difference / norm);
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

function convCheck(name: string, c: ConvCase): SelfCheck {
  return {
    name: `convolution and its gradients, ${name}`,
    bound: 1e-5,
    run(device) {
      const [x, w, dy] = [noise(c.x, 1), noise(c.w, 2), noise(convOutput(c), 3)];
      const [xs, ws, dys] = [input("x", c.x), input("w", c.w), input("dy", convOutput(c))];
      const y = conv2d(xs, ws, { stride: c.stride, padding: c.padding });
      const [dx, dw] = gradients(sum(mul(y, dys)), [xs, ws]);
      const feeds = { x: Float32Array.from(x), w: Float32Array.from(w), dy: Float32Array.from(dy) };
      return compare(device, { y, dx, dw }, feeds, convolution(c, x, w, dy));
    },
  };
}

const batchNormCheck: SelfCheck = {
  name: "batch norm and its gradients",
  bound: 1e-4,
  run(device) {
    const shape = [3, 9, 7, 12];
    const [x, gamma, beta, dy] = [noise(shape, 4), noise([12], 5), noise([12], 6), noise(shape, 7)];
    const [xs, gs, bs, dys] = [input("x", shape), input("gamma", [12]), input("beta", [12]), input("dy", shape)];
    const running = { runningMean: input("mean", [12]), runningVar: input("variance", [12]) };
    const { y } = batchNorm(xs, { gamma: gs, beta: bs, ...running }, { training: true });
    const [dx, dgamma, dbeta] = gradients(sum(mul(y, dys)), [xs, gs, bs]);
    const feeds = {
      x: Float32Array.from(x),
      gamma: Float32Array.from(gamma),
      beta: Float32Array.from(beta),
      dy: Float32Array.from(dy),
    };
    return compare(device, { y, dx, dgamma, dbeta }, feeds, batchNormalization(x, gamma, beta, dy));
  },
};

const productCheck: SelfCheck = {
  name: "matrix product",
  bound: 1e-5,
  run(device) {
    const [a, b] = [noise([37, 65], 8), noise([65, 41], 9)];
    const y = matmul(input("a", [37, 65]), input("b", [65, 41]));
    return compare(device, { y }, { a: Float32Array.from(a), b: Float32Array.from(b) }, { y: product(a, b, 37, 41) });
  },
};

const crossEntropyCheck: SelfCheck = {
  name: "softmax cross entropy and its gradient",
  bound: 1e-5,
  run(device) {
    const values = noise([5, 70], 10);
    const labels = Int32Array.of(0, 69, 33, 7, 7);
    const logits = input("logits", [1, 5, 70]);
    const loss = sum(softmaxCrossEntropy(logits, input("labels", [5], "i32")));
    const [gradient] = gradients(loss, [logits]);
    const feeds = { logits: Float32Array.from(values), labels };
    return compare(device, { loss, gradient }, feeds, crossEntropy(values, labels));
  },
};

/** A narrow MPN with everything in it, small enough to compile and run in a second. */
const TINY = parseModelConfig({
  layers: [1, 1, 1, 1],
  width: 4,
  imageSize: [64, 32],
  parts: 2,
  partDim: 8,
  identities: 3,
  alignment: "class",
});
const BATCH = 4;

interface TinyStep {
  step(rate: number): Promise<{ loss: number; gradients: readonly Float32Array[] }>;
  destroy(): void;
}

/** The tiny training step with its initial weights. */
async function tinyStep(device: Device): Promise<TinyStep> {
  const shape = [BATCH, ...TINY.imageSize, 3];
  const store = new ParameterStore();
  const { losses, gradients: grads, updates } = trainingStep(store, TINY, input("images", shape));
  store.allocate(device, 0);
  const outputs = { total: losses.total, ...Object.fromEntries(grads.map((g, i) => [`gradient ${i}`, g])) };
  const program = await Program.compile(device, { outputs, updates });
  const [rows, columns] = featureSize(TINY.imageSize);
  const labels = Int32Array.of(0, 0, 1, 1);
  const feeds = {
    images: Float32Array.from(noise(shape, 11)),
    mask: Float32Array.from({ length: BATCH * rows * columns }, (_, i) => Number(i % 3 > 0)),
    roi: Float32Array.from([...labels].flatMap(() => [0, 0, rows - 1, columns])),
    labels,
    partLabels: partLabels(labels, TINY),
  };
  return {
    async step(rate) {
      const hyper = Float32Array.of(rate, 0, 0, 0);
      const values = await program.run({ ...feeds, hyper }, ["total", ...grads.map((_, i) => `gradient ${i}`)]);
      return { loss: values.total[0], gradients: grads.map((_, i) => values[`gradient ${i}`] as Float32Array) };
    },
    destroy() {
      program.destroy();
      store.destroy(device);
    },
  };
}

const stepCheck: SelfCheck = {
  name: "MPN training step against finite differences",
  // Kinks of ReLU and of the maxima lie between the two losses, which float32 rounds, too.
  bound: 0.05,
  async run(device) {
    const lossAfter = async (rate: number) => {
      const tiny = await tinyStep(device);
      try {
        const { gradients: grads } = await tiny.step(rate);
        return { loss: (await tiny.step(0)).loss, grads };
      } finally {
        tiny.destroy();
      }
    };
    const squared = (grads: readonly Float32Array[]) => grads.flatMap((g) => [...g]).reduce((s, v) => s + v * v, 0);
    const { grads } = await lossAfter(0);
    // Along the gradient the loss changes by its squared length, per unit of the rate.
    const slope = squared(grads);
    const rate = 0.002 / slope;
    const [down, up] = [await lossAfter(rate), await lossAfter(-rate)];
    return relativeError([(up.loss - down.loss) / (2 * rate)], [slope]);
  },
};

const bitsCheck: SelfCheck = {
  name: "two training runs give the same bits",
  bound: 0,
  async run(device) {
    const both: Float32Array[][] = [];
    for (let i = 0; i < 2; i++) {
      const tiny = await tinyStep(device);
      try {
        await tiny.step(0.01);
        const { loss, gradients: grads } = await tiny.step(0.01);
        both.push([Float32Array.of(loss), ...grads]);
      } finally {
        tiny.destroy();
      }
    }
    const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
    const differ = both[0].map((a, i) => bits(a).filter((v, k) => v !== bits(both[1][i])[k]).length);
    return differ.reduce((a, b) => a + b, 0);
  },
};

export const selfChecks: readonly SelfCheck[] = [
  convCheck("1x1", { x: [2, 6, 4, 64], w: [1, 1, 64, 48], stride: 1, padding: 0 }),
  convCheck("3x3", { x: [2, 7, 5, 20], w: [3, 3, 20, 36], stride: 1, padding: 1 }),
  convCheck("3x3, stride 2", { x: [2, 9, 6, 6], w: [3, 3, 6, 10], stride: 2, padding: 1 }),
  convCheck("7x7 on RGB, stride 2", { x: [1, 21, 15, 3], w: [7, 7, 3, 16], stride: 2, padding: 3 }),
  batchNormCheck,
  productCheck,
  crossEntropyCheck,
  stepCheck,
  bitsCheck,
];
