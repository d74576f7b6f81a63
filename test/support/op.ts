/**
 * Checks an op on the GPU against a float64 reference: its values, its gradients by central finite differences, in the
 * middle of a graph, and that the same inputs give the same bits.
 */
import * as assert from "uvu/assert";
import { Device, type OpenOptions } from "#src/gpu/device.js";
import { KernelCache } from "#src/gpu/kernel.js";
import { Lowering } from "#src/graph/lowering.js";
import { Program, type Values } from "#src/graph/program.js";
import { castOp, type Precision } from "#src/graph/storage.js";
import { apply, type DType, input, reachable, type Shape, type Tensor } from "#src/graph/tensor.js";
import { add, gradients, mul, scale, sum } from "#src/ops/index.js";
import { seededRng, uniform } from "#src/random.js";
import { asGathers, asGpu } from "./forced.js";

let opened: Promise<Device> | null = null;

/** One device for all tests of a process; whoever asks first says how it is opened. */
export function sharedDevice(options?: OpenOptions): Promise<Device> {
  opened ??= Device.open(options);
  return opened;
}

/** For `test.after`: a process with an open device may not end by itself. */
export async function closeDevice(): Promise<void> {
  (await opened)?.close();
  opened = null;
}

/** How random values are drawn, so that finite differences stay away from kinks. */
export type Draw =
  /** Uniform in [-1, 1). */
  | "uniform"
  /** Between 0.1 and 1 away from 0, either sign. */
  | "off-zero"
  /** All different by far more than the step of a finite difference, in random order. */
  | "distinct";

export interface InputSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
  /** "uniform" by default. */
  readonly draw?: Draw;
  /** Given instead of drawn. */
  readonly values?: readonly number[];
  /** A map that the op reads from halves, where the case is one of storage in halves. */
  readonly map?: boolean;
  /** Not differentiated: masks, boxes and whatever is no f32. */
  readonly fixed?: boolean;
}

export type Arrays = Readonly<Record<string, Float64Array>>;

export interface OpCase {
  readonly name: string;
  readonly inputs: Readonly<Record<string, InputSpec>>;
  build(tensors: Readonly<Record<string, Tensor>>): Tensor;
  reference(values: Arrays): ArrayLike<number>;
  /** Largest relative L2 error of values; 1e-5 by default. */
  readonly bound?: number;
  /** Largest relative L2 error of gradients; 1e-4 by default. */
  readonly gradientBound?: number;
  /** Elements of each input whose gradient is compared; 24 by default, none for 0. */
  readonly samples?: number;
  readonly seed?: number;
  /** "float32" by default. In float16, inputs are drawn from the numbers that it holds. */
  readonly precision?: Precision;
}

/** Scales the op's inputs before it; a power of two, so that nothing is rounded. */
const COEFFICIENT = 0.5;
const STEP = 1e-5;

export function size(shape: Shape): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Random numbers that float32 holds exactly. */
export function draw(count: number, how: Draw, seed: number): Float64Array {
  const rng = seededRng(seed);
  const values = Float64Array.from({ length: count }, (_, i) => {
    if (how === "distinct") return (2 * (i + 0.5)) / count - 1;
    const v = uniform(rng, -1, 1);
    return how === "off-zero" ? Math.sign(v) * (0.1 + 0.9 * Math.abs(v)) : v;
  });
  if (how === "distinct") {
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(uniform(rng, 0, i + 1));
      [values[i], values[j]] = [values[j], values[i]];
    }
  }
  return values.map(Math.fround);
}

/** The nearest float16; of two as near, the even one. */
export function half(v: number): number {
  if (v === 0) return v;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(v))), -14) - 10);
  const below = Math.floor(v / step);
  const rest = v / step - below;
  return step * (below + Number(rest > 0.5 || (rest === 0.5 && below % 2 !== 0)));
}

/** |actual - expected| / |expected| in the L2 norm; the absolute error where nothing is expected. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.is(actual.length, expected.length, "numbers of elements");
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(norm > 0 ? error / norm : error);
}

export function sameBits(a: Values, b: Values): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

/** Compiles, runs twice, compares the bits, and returns the values of the outputs. */
export async function evaluate(
  outputs: Readonly<Record<string, Tensor>>,
  feeds: Readonly<Record<string, Values>>,
  precision: Precision = "float32",
): Promise<Record<string, Values>> {
  const program = await Program.compile(await sharedDevice(), { outputs, precision });
  try {
    const names = Object.keys(outputs);
    const first = await program.run(feeds, names);
    const second = await program.run(feeds, names);
    for (const name of names) assert.ok(sameBits(first[name], second[name]), `${name}: two runs differ in bits`);
    return first;
  } finally {
    program.destroy();
  }
}

export function typed(values: ArrayLike<number>, dtype: DType = "f32"): Values {
  if (dtype === "f32") return Float32Array.from(values);
  return dtype === "u32" ? Uint32Array.from(values) : Int32Array.from(values);
}

/**
 * Builds loss = sum(w * op(c x)) + sum(u * c x), so that the op's gradient arrives scaled, leaves scaled, and meets
 * another one on the way; runs it, and compares everything with the reference.
 */
export async function checkOp(check: OpCase): Promise<void> {
  const { seed = 1, samples = 24, precision = "float32" } = check;
  const exact = (drawn: Float64Array) => (precision === "float16" ? drawn.map(half) : drawn);
  const names = Object.keys(check.inputs);
  const values: Record<string, Float64Array> = {};
  const feeds: Record<string, Values> = {};
  const leaves: Record<string, Tensor> = {};
  const fed: Record<string, Tensor> = {};
  names.forEach((name, i) => {
    const spec = check.inputs[name];
    values[name] = spec.values
      ? Float64Array.from(spec.values)
      : exact(draw(size(spec.shape), spec.draw ?? "uniform", seed + 97 * i));
    feeds[name] = typed(values[name], spec.dtype);
    leaves[name] = input(name, spec.shape, spec.dtype);
    fed[name] = varies(spec) ? scale(leaves[name], COEFFICIENT) : leaves[name];
    if (precision === "float16" && spec.map) fed[name] = apply(castOp, [fed[name]], "f16")[0];
  });
  const y = check.build(fed);
  const reference = (at: Arrays) => {
    const scaled = names.map((name) => [
      name,
      varies(check.inputs[name]) ? at[name].map((v) => COEFFICIENT * v) : at[name],
    ]);
    return check.reference(Object.fromEntries(scaled));
  };
  const expected = reference(values);
  assert.is(y.size, expected.length, `${check.name}: elements of ${y}`);

  const outputs: Record<string, Tensor> = { y };
  const differentiated = samples > 0 ? names.filter((name) => varies(check.inputs[name])) : [];
  const weights = exact(draw(y.size, "uniform", seed + 1001));
  const others = Object.fromEntries(
    differentiated.map((name, i) => [name, exact(draw(values[name].length, "uniform", seed + 2003 + i))]),
  );
  if (differentiated.length > 0) {
    let loss = sum(mul(input("weights", y.shape), y));
    feeds.weights = typed(weights);
    for (const name of differentiated) {
      loss = add(loss, sum(mul(input(`other ${name}`, fed[name].shape), fed[name])));
      feeds[`other ${name}`] = typed(others[name]);
    }
    gradients(
      loss,
      differentiated.map((name) => leaves[name]),
    ).forEach((g, i) => {
      assert.ok(g, `${check.name}: no gradient for ${differentiated[i]}`);
      outputs[`d ${differentiated[i]}`] = g;
    });
  }

  const picks = Object.fromEntries(differentiated.map((name) => [name, sampled(values[name].length, samples)]));
  const slopes = differentiated.map((name) =>
    picks[name].map((at) => {
      const moved = (by: number) => {
        const copy = values[name].slice();
        copy[at] += by;
        return dot(weights, reference({ ...values, [name]: copy }));
      };
      return (moved(STEP) - moved(-STEP)) / (2 * STEP) + COEFFICIENT * others[name][at];
    }),
  );
  const compare = async (where: string) => {
    const actual = await evaluate(outputs, feeds, precision);
    const error = relativeError(actual.y, expected);
    assert.ok(error <= (check.bound ?? 1e-5), `${check.name}${where}: values are off by ${error}`);
    for (const [i, name] of differentiated.entries()) {
      const analytic = picks[name].map((at) => actual[`d ${name}`][at]);
      const off = relativeError(analytic, slopes[i]);
      assert.ok(
        off <= (check.gradientBound ?? 1e-4),
        `${check.name}${where}: the gradient of ${name} is off by ${off}`,
      );
    }
  };
  await compare("");
  // Where a GPU or another software adapter would be given other kernels, they have to be as right.
  const device = await sharedDevice();
  const kernels = ({ profile }: Device) => {
    const lowering = new Lowering(profile);
    lowering.lower(reachable(Object.values(outputs)));
    return lowering.launches.map(({ kernel }) => KernelCache.key(kernel)).join();
  };
  const usual = kernels(device);
  await asGpu(device, async () => {
    if (kernels(device) !== usual) await compare(" on a GPU");
  });
  await asGathers(device, async () => {
    if (kernels(device) !== usual) await compare(" where loads are gathers");
  });
}

const varies = (spec: InputSpec) => !spec.fixed && (spec.dtype ?? "f32") === "f32";

/** Evenly spread positions, the first and the last among them. */
function sampled(length: number, count: number): number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (length - 1)) / (count - 1)));
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}
