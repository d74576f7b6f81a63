/**
 * Graphs of convolutions, and runs of them on small integers, of which neither halves nor sums round any, so that every kernel has to make
 * the very same numbers.
 */
import * as assert from "uvu/assert";
import type { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { fuse } from "#src/graph/passes.js";
import { Program, type Values } from "#src/graph/program.js";
import { type Precision, storeHalves } from "#src/graph/storage.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { batchNorm, conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { seededRng, uniform } from "#src/random.js";
import { type ConvCase, weightShape } from "./reference/conv.js";

export type Graph = Readonly<Record<string, Tensor>>;

/** -2 to 2. */
export function integers(count: number, seed: number): Float32Array<ArrayBuffer> {
  const rng = seededRng(seed);
  return Float32Array.from({ length: count }, () => Math.round(uniform(rng, -2, 2)));
}

/** A convolution and its gradients. */
export function gradientGraph(c: ConvCase): Graph {
  const [x, w] = [input("x", c.x), input("w", weightShape(c))];
  const y = conv2d(x, w, c);
  const [dx, dw] = gradients(sum(mul(y, input("dy", y.shape))), [x, w]);
  return { y, dx: dx!, dw: dw! };
}

/** Convolutions one after the other, so that what lies between them may be stored in halves, with their gradients. */
export function chainGraph(kernel: number, channels: readonly number[]): Graph {
  const x = input("x", [2, 6, 5, channels[0]]);
  const weights = channels.slice(1).map((to, i) => input(`w${i}`, [kernel, kernel, channels[i], to]));
  const y = weights.reduce((map, w) => conv2d(map, w, { padding: kernel >> 1 }), x);
  const [dx, ...dw] = gradients(sum(mul(y, input("dy", y.shape))), [x, ...weights]);
  return { y, dx: dx!, ...Object.fromEntries(dw.map((t, i) => [`dw${i}`, t!])) };
}

/** With bias, or batch norm, residual sum and ReLU in the epilogue. */
export function inferenceGraph(channels: number, kernel: number): Graph {
  const x = input("x", [1, 9, 5, channels]);
  const vector = (name: string) => input(name, [channels]);
  const options = { padding: kernel >> 1, bias: kernel === 1 ? vector("bias") : undefined };
  const y = conv2d(x, input("w", [kernel, kernel, channels, channels]), options);
  const vectors = {
    gamma: vector("gamma"),
    beta: vector("beta"),
    runningMean: vector("mean"),
    runningVar: vector("one"),
  };
  if (kernel === 1) return { y };
  return { y: fuse([batchNorm(y, vectors, { training: false, relu: true, residual: x }).y])[0] };
}

/** On a device as it is now, inputs by the order in which they are found. */
export async function runIntegers(
  device: Device,
  outputs: Graph,
  precision: Precision,
): Promise<Record<string, Values>> {
  const program = await Program.compile(device, { outputs, precision });
  const leaves = new Set(reachable(Object.values(outputs)).flatMap(({ inputs }) => inputs.filter((t) => !t.node)));
  const feeds = Object.fromEntries(
    [...leaves].filter((t) => program.takes(t.name)).map((t, i) => [t.name, integers(t.size, i + 1)]),
  );
  const values = await program.run(feeds, Object.keys(outputs));
  program.destroy();
  return values;
}

/** Sees to it that a device would run these shaders for a graph. */
export function assertRuns(
  { profile }: Device,
  outputs: Graph,
  precision: Precision,
  shaders: readonly string[],
): void {
  const lowering = new Lowering(profile);
  const roots = Object.values(outputs);
  lowering.lower(reachable(precision === "float16" ? storeHalves(roots) : roots));
  const used = new Set<string>(lowering.launches.map(({ kernel }) => kernel.shader));
  for (const shader of shaders) assert.ok(used.has(shader), `runs ${shader}`);
}

/** Every element of every output. */
export function assertSame(outputs: Graph, actual: Record<string, Values>, expected: Record<string, Values>): void {
  for (const key of Object.keys(outputs)) {
    assert.ok(expected[key].some((v) => v !== 0));
    const wrong = expected[key].findIndex((v, i) => v !== actual[key][i]);
    const { shape } = outputs[key];
    assert.is(wrong, -1, `${key} [${shape}]: ${actual[key][wrong]} for ${expected[key][wrong]} at ${wrong}`);
  }
}
