import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { constantValues } from "#src/nn/init.js";
import { Build } from "#src/nn/layers.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { scale, sum } from "#src/ops/index.js";
import { closeDevice, draw, evaluate, sharedDevice, size } from "../support/op.js";

const zeros = constantValues(0);

/** One of each kind: a convolution, a part's 1 x 1 convolution and linear layer side by side, and vectors. */
function declare(store: ParameterStore) {
  const conv = store.parameter({ names: ["conv"], shape: [3, 5, 2, 4], diskShape: [4, 2, 3, 5], init: zeros });
  const parts = store.parameter({
    names: ["parts.0", "parts.1", "parts.2"],
    shape: [1, 1, 2, 9],
    diskShape: [3, 2, 1, 1],
    init: zeros,
  });
  const linear = store.parameter({ names: ["fc.0", "fc.1"], shape: [1, 1, 5, 6], diskShape: [3, 5], init: zeros });
  const bias = store.parameter({ names: ["b.0", "b.1"], shape: [6], diskShape: [3], init: zeros });
  const mean = store.statistic({ names: ["mean"], shape: [3], diskShape: [3], init: zeros });
  return { conv, parts, linear, bias, mean };
}

const DISK_SHAPES: Record<string, number[]> = {
  conv: [4, 2, 3, 5],
  "parts.0": [3, 2, 1, 1],
  "parts.1": [3, 2, 1, 1],
  "parts.2": [3, 2, 1, 1],
  "fc.0": [3, 5],
  "fc.1": [3, 5],
  "b.0": [3],
  "b.1": [3],
  mean: [3],
};

const onDisk = () =>
  new Map<string, NamedArray>(
    Object.entries(DISK_SHAPES).map(([name, shape], i) => [
      name,
      { shape, data: Float32Array.from(draw(size(shape), "uniform", i + 1)) },
    ]),
  );

async function loaded(values: ReadonlyMap<string, NamedArray>) {
  const device = await sharedDevice();
  const store = new ParameterStore();
  const tensors = declare(store);
  store.allocate(device, 1);
  const report = store.load(device, values, "weights.safetensors");
  return { device, store, tensors, report };
}

test("values come back by name as they were loaded, parameters and statistics", async () => {
  const values = onDisk();
  const { device, store, report } = await loaded(values);
  assert.equal(report, { missing: [], unknown: [] });
  const read = await store.read(device);
  assert.equal([...read.keys()].sort(), [...values.keys()].sort());
  for (const [name, { shape, data }] of values) assert.equal(read.get(name), { shape, data }, name);
  store.destroy(device);
});

test("tensors that are turned in several parts come back as they were loaded", async () => {
  const device = await sharedDevice();
  const store = new ParameterStore();
  const shapes: Record<string, number[]> = { wide: [72, 700, 3, 3], "k.0": [37, 5000], "k.1": [37, 5000] };
  store.parameter({ names: ["wide"], shape: [3, 3, 700, 72], diskShape: shapes.wide, init: zeros });
  store.parameter({ names: ["k.0", "k.1"], shape: [1, 1, 5000, 74], diskShape: shapes["k.0"], init: zeros });
  store.allocate(device, null);
  const values = new Map(
    Object.entries(shapes).map(([name, shape], i): [string, NamedArray] => [
      name,
      { shape, data: Float32Array.from({ length: size(shape) }, (_, k) => k + i / 4) },
    ]),
  );
  const read: string[][] = [];
  const report = store.loadFrom(device, values, "weights.safetensors", (names) => {
    read.push([...names]);
    return values;
  });
  assert.equal(report, { missing: [], unknown: [] });
  assert.equal(read.flat(), ["wide", "k.0", "k.1"]);
  for (const [name, { data }] of await store.read(device)) assert.equal(data, values.get(name)!.data, name);
  store.destroy(device);
});

test("momenta come back as loaded, and are zero before", async () => {
  const device = await sharedDevice();
  const values = onDisk();
  const store = new ParameterStore();
  declare(store);
  const { weights, momenta } = store.flat(0, store.trainedBytes);
  assert.equal(momenta.shape, weights.shape);
  store.allocate(device, 1);
  for (const [name, { data }] of await store.readMomenta(device))
    assert.ok(
      data.every((v) => v === 0),
      name,
    );
  store.loadMomenta(device, values);
  const read = await store.readMomenta(device);
  assert.equal([...read.keys()].sort(), [...values.keys()].filter((name) => name !== "mean").sort());
  for (const [name, { data }] of read) assert.equal(data, values.get(name)!.data, name);
  store.destroy(device);
});

test("in the engine OIHW lies as HWIO, and parts lie side by side in columns", async () => {
  const values = onDisk();
  const { device, store, tensors } = await loaded(values);
  const { conv, parts, linear, bias } = await evaluate(
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, scale(t, 1)])),
    {},
  );
  const disk = (name: string) => values.get(name)!.data;
  const at = (h: number, w: number, i: number, o: number) => ((h * 5 + w) * 2 + i) * 4 + o;
  assert.is(conv[at(2, 3, 1, 2)], disk("conv")[((2 * 2 + 1) * 3 + 2) * 5 + 3]);
  for (const part of [0, 1, 2]) {
    // Output 1 of input 0 or 1 of this part.
    for (const i of [0, 1]) assert.is(parts[i * 9 + part * 3 + 1], disk(`parts.${part}`)[1 * 2 + i]);
  }
  assert.is(linear[4 * 6 + 3 + 2], disk("fc.1")[2 * 5 + 4]);
  assert.equal([...bias], [...disk("b.0"), ...disk("b.1")]);
  store.destroy(device);
});

test("gradients in engine layout are named and laid out as on disk", async () => {
  const values = onDisk();
  const { device, store } = await loaded(values);
  const engine = await evaluate(
    Object.fromEntries(store.trained.map(({ tensor }, i) => [`g${i}`, scale(tensor, 2)])),
    {},
  );
  const named = store.toDisk(store.trained.map((_, i) => engine[`g${i}`] as Float32Array));
  assert.is(named.size, values.size - 1, "statistics have no gradient");
  for (const [name, gradient] of named)
    assert.equal(
      gradient,
      values.get(name)!.data.map((v) => 2 * v),
      name,
    );
  store.destroy(device);
});

test("a wrong shape is refused by file, name and both shapes", async () => {
  const values = onDisk().set("parts.1", { shape: [3, 3, 1, 1], data: new Float32Array(9) });
  const error = await loaded(values).catch((e: Error) => e);
  assert.instance(error, UserError);
  assert.match(
    (error as Error).message,
    /weights\.safetensors: parts\.1 is \[3, 3, 1, 1\], this model's is \[3, 2, 1, 1\]/,
  );
});

test("missing and unknown names are reported", async () => {
  const values = onDisk();
  values.delete("parts.1");
  values.set("backbone.fc.weight", { shape: [1], data: new Float32Array(1) });
  const { device, store, report } = await loaded(values);
  assert.equal(report, { missing: ["parts.1"], unknown: ["backbone.fc.weight"] });
  store.destroy(device);
});

test("a parameter is declared once, and refused in another shape", () => {
  const store = new ParameterStore();
  const declaration = { names: ["w"], shape: [1, 1, 2, 4], diskShape: [4, 2, 1, 1], init: zeros };
  assert.is(store.parameter(declaration), store.parameter(declaration));
  assert.throws(
    () => store.parameter({ ...declaration, shape: [1, 1, 2, 8] }),
    /w was \[1,1,2,4\] before, now \[1,1,2,8\]/,
  );
});

test("the store counts what it is asked to", () => {
  const store = new ParameterStore();
  declare(store);
  assert.equal(store.count(), { parameters: 120 + 18 + 30 + 6, withStatistics: 120 + 18 + 30 + 6 + 3 });
  assert.equal(store.count(/^(fc|b)\./), { parameters: 138, withStatistics: 141 });
});

test("a layer that runs twice moves its running statistics twice", async () => {
  const device = await sharedDevice();
  const store = new ParameterStore();
  const build = new Build(store, true);
  const x = input("x", [2, 1]);
  const total = sum(build.batchNorm("bn", build.batchNorm("bn", x)));
  assert.is(build.updates.length, 2);
  store.allocate(device, 1);
  const program = await Program.compile(device, { outputs: { total }, updates: build.updates });
  await program.run({ x: Float32Array.of(0, 2) });
  const { data } = (await store.read(device)).get("bn.running_mean")!;
  // The first batch has mean 1, the second, already normalised, 0.
  assert.ok(Math.abs(data[0] - 0.09) < 1e-6, String(data[0]));
  program.destroy();
  store.destroy(device);
});

test.after(closeDevice);
test.run();
