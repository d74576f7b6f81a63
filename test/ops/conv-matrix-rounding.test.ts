/**
 * What the kernels on matrix units round, and nothing else: y, dx and dw against sums in float64 of the products of halves, element
 * by element, within what a sum in float32 may be off by. A sum in halves, an operand that is rounded twice or not at all, and a
 * product that is missing or there twice are all far beyond that.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import { fuse } from "#src/graph/passes.js";
import { Program, type Values } from "#src/graph/program.js";
import { castOp, type Precision } from "#src/graph/storage.js";
import { apply, input, type Shape, type Tensor } from "#src/graph/tensor.js";
import type { MatrixTile } from "#src/ops/conv-matrix.js";
import { batchNorm, conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { forced } from "../support/forced.js";
import { emulateMatrixUnits } from "../support/matrix-emulation.js";
import { draw, half, sameBits, typed } from "../support/op.js";
import { paperUnits } from "../support/profile.js";
import * as reference from "../support/reference/conv.js";

/** Of the sum of a product's absolute terms: of float32's 6e-8 a term, as signs and sizes have it. */
const BOUND = 1e-6;
/** What a number that is stored as a half is off by, at most. */
const STORED = 2 ** -11;

/** As little text to compile as there can be: two subgroups, each with two matrices side by side. */
const smallest = (size: number, lanes: number): MatrixTile => ({
  subgroupsY: 2,
  subgroupsX: 1,
  rows: size,
  cols: 2 * size,
  depth: lanes > 8 ? 64 : 16,
  prefetch: 0,
  perUnit: 2,
  splits: 1,
});

type Arrays = Readonly<Record<string, Float64Array>>;

type Way = "y" | "dx" | "dw";

/** Sums of products of operands rounded to halves, and of their absolute values: a convolution's, or those of a gradient of it. */
function sums(c: reference.ConvCase, way: Way, values: Arrays): { exact: Float64Array; most: Float64Array } {
  const shape = { y: reference.outputShape(c), dx: c.x, dw: reference.weightShape(c) }[way];
  const [exact, most] = [0, 0].map(() => new Float64Array(shape.reduce((a, b) => a * b)));
  const operands = { y: ["x", "w"], dx: ["dy", "w"], dw: ["x", "dy"] }[way];
  const [left, right] = operands.map((name) => values[name].map(half));
  reference.eachProduct(c, (y, x, w) => {
    const [to, a, b] = { y: [y, x, w], dx: [x, y, w], dw: [w, x, y] }[way];
    exact[to] += left[a] * right[b];
    most[to] += Math.abs(left[a] * right[b]);
  });
  return { exact, most };
}

function closeTo(actual: Values, exact: Float64Array, within: (i: number) => number, what: string): void {
  assert.is(actual.length, exact.length, what);
  let worst = 0;
  let at = 0;
  for (let i = 0; i < exact.length; i++) {
    const share = Math.abs(actual[i] - exact[i]) / Math.max(within(i), 1e-30);
    // Not a number is no agreement either.
    if (!(share <= worst)) [worst, at] = [share, i];
  }
  assert.ok(
    worst <= 1,
    `${what}: ${actual[at]} for ${exact[at]} at ${at} of ${exact.length}, ${worst} times the bound`,
  );
}

const devices = new Map<number, Promise<Device>>();

/**
 * With index clamps: an access out of bounds shows as a wrong number. They double what compiling takes, so that there are as few
 * kernels as can be.
 */
function deviceWith(size: number): Promise<Device> {
  const open = async () => {
    const device = await Device.open({ robust: true });
    emulateMatrixUnits(device, paperUnits(size));
    return device;
  };
  if (!devices.has(size)) devices.set(size, open());
  return devices.get(size)!;
}

test.after(async () => {
  for (const device of devices.values()) (await device).close();
});

interface Given {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly values: Arrays;
  readonly shaders: readonly string[];
  readonly precision?: Precision;
}

/** Runs twice and compares bits; sees to it that these kernels run, and no other one for a product. */
async function computed(size: number, { outputs, values, shaders, precision = "float32" }: Given) {
  const device = await deviceWith(size);
  device.useTuned(forced({ kernel: "matrix", tile: smallest(size, device.profile.subgroupSize) }));
  const made = new Set<string>();
  const get = device.kernels.get;
  device.kernels.get = (spec) => {
    made.add(spec.shader);
    return get.call(device.kernels, spec);
  };
  try {
    const program = await Program.compile(device, { outputs, precision });
    const feeds = Object.fromEntries(Object.entries(values).map(([name, data]) => [name, typed(data)]));
    const names = Object.keys(outputs);
    const first = await program.run(feeds, names);
    const second = await program.run(feeds, names);
    program.destroy();
    device.check("running a convolution on matrix units");
    for (const name of names) assert.ok(sameBits(first[name], second[name]), `${name}: two runs differ in bits`);
    assert.equal([...made].filter((shader) => /^conv_|^conv$|winograd/.test(shader)).sort(), [...shaders].sort());
    return first;
  } finally {
    device.kernels.get = get;
  }
}

const drawn = (shapes: Readonly<Record<string, Shape>>): Arrays =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [
      name,
      draw(
        shape.reduce((a, b) => a * b),
        "uniform",
        i + 1,
      ),
    ]),
  );

/** A convolution and its gradients. */
function check(name: string, size: number, c: reference.ConvCase): void {
  test(`${name}, matrices of ${size}`, async () => {
    const values = drawn({ x: c.x, w: reference.weightShape(c), dy: reference.outputShape(c) });
    const [x, w, dy] = [input("x", c.x), input("w", reference.weightShape(c)), input("dy", reference.outputShape(c))];
    const y = conv2d(x, w, c);
    const [dx, dw] = gradients(sum(mul(y, dy)), [x, w]);
    const outputs = { y, dx: dx!, dw: dw! };
    const actual = await computed(size, { outputs, values, shaders: ["conv_matrix", "conv_weight_grad_matrix"] });
    for (const way of ["y", "dx", "dw"] satisfies Way[]) {
      const { exact, most } = sums(c, way, values);
      closeTo(actual[way], exact, (i) => BOUND * most[i], `${way} of ${outputs[way].shape}`);
    }
  });
}

// A row and some columns over a tile of 16 x 16 or 32 x 32, and terms that are no whole number of slices.
const pointwise: reference.ConvCase = { x: [1, 3, 11, 20], kernel: [1, 1], filters: 36 };
const stride2: reference.ConvCase = { x: [2, 9, 7, 12], kernel: [3, 3], filters: 36, stride: [2, 2], padding: [1, 1] };
const odd: reference.ConvCase = { x: [2, 5, 6, 13], kernel: [3, 3], filters: 35, padding: [1, 1] };
check("1 x 1, a row over the tile", 8, pointwise);
check("3 x 3, stride 2, odd sizes", 8, stride2);
check("3 x 3, stride 2, odd sizes", 16, stride2);
check("3 x 3, odd channels", 8, odd);
check("3 x 3, 2 groups", 8, { x: [1, 5, 7, 16], kernel: [3, 3], filters: 40, padding: [1, 1], groups: 2 });
check("3 stripes of rows", 8, { x: [2, 6, 4, 20], kernel: [1, 1], filters: 60, groups: 3, split: "rows" });

test("operands half way between two halves go to the even one", async () => {
  const c = pointwise;
  const between = (v: number) => Math.fround(half(v) + 2 ** (Math.floor(Math.log2(Math.abs(half(v)))) - 11));
  const given = drawn({ x: c.x, w: reference.weightShape(c) });
  const values = { x: given.x.map(between), w: given.w.map(between) };
  assert.ok(values.x.some((v) => half(v) > v) && values.x.some((v) => half(v) < v));
  const y = conv2d(input("x", c.x), input("w", reference.weightShape(c)), c);
  const actual = await computed(8, { outputs: { y }, values, shaders: ["conv_matrix"] });
  const { exact, most } = sums(c, "y", values);
  closeTo(actual.y, exact, (i) => BOUND * most[i], "y");
});

test("inference's epilogue: batch norm, residual sum and ReLU are float32's", async () => {
  const c = odd;
  const shape = reference.outputShape(c);
  const vector: Shape = [c.filters];
  const vectors = { gamma: vector, beta: vector, mean: vector, variance: vector };
  const values: Record<string, Float64Array> = {
    ...drawn({ x: c.x, w: reference.weightShape(c), residual: shape, ...vectors }),
  };
  values.variance = values.variance.map((v) => Math.fround(1 + v / 2));
  const [gamma, beta, runningMean, runningVar] = Object.keys(vectors).map((key) => input(key, vector));
  const y = conv2d(input("x", c.x), input("w", reference.weightShape(c)), c);
  const residual = input("residual", shape);
  const norm = batchNorm(y, { gamma, beta, runningMean, runningVar }, { training: false, relu: true, residual });
  const [fused] = fuse([norm.y]);
  const actual = await computed(8, { outputs: { fused }, values, shaders: ["conv_matrix"] });
  const { exact, most } = sums(c, "y", values);
  const scale = values.gamma.map((g, f) => g / Math.sqrt(values.variance[f] + 1e-5));
  const shift = values.beta.map((b, f) => b - values.mean[f] * scale[f]);
  const of = (i: number) => i % c.filters;
  const expected = exact.map((v, i) => Math.max(v * scale[of(i)] + shift[of(i)] + values.residual[i], 0));
  const size = (i: number) => most[i] * Math.abs(scale[of(i)]) + Math.abs(shift[of(i)]) + Math.abs(values.residual[i]);
  closeTo(actual.fused, expected, (i) => BOUND * size(i), "y");
});

test("a map stored as halves: what is stored is rounded once more, and what is read is not", async () => {
  const c = pointwise;
  const all = drawn({ x: c.x, w: reference.weightShape(c), bias: [c.filters] });
  const values: Arrays = { ...all, x: all.x.map(half) };
  const x = apply(castOp, [input("x", c.x)], "f16")[0];
  const y = conv2d(x, input("w", reference.weightShape(c)), { ...c, bias: input("bias", [c.filters]) });
  const shaders = ["conv_matrix"];
  const actual = await computed(8, { outputs: { y }, values, precision: "float16", shaders });
  const { exact, most } = sums(c, "y", values);
  const expected = exact.map((v, i) => v + values.bias[i % c.filters]);
  const size = (i: number) => most[i] + Math.abs(values.bias[i % c.filters]);
  closeTo(actual.y, expected, (i) => STORED * Math.abs(expected[i]) + 2 * BOUND * size(i), "y");
});

test.run();
