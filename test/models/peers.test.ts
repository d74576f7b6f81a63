/** IDE, PCB, MGN, Pyramid and DSA-reID's test-time network: against PyTorch (peers/make.py), and as training needs them. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { fuse } from "#src/graph/passes.js";
import { Program, type Values } from "#src/graph/program.js";
import { input, type Tensor } from "#src/graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { add, mul, sum } from "#src/ops/index.js";
import { partLabels, trainingStep } from "#src/training/step.js";
import { closeDevice, draw, relativeError, sameBits, sharedDevice, size, typed } from "../support/op.js";

const folder = join(import.meta.dirname, "peers");

/** [N, C, H, W] -> [N, H, W, C] */
function toNhwc(values: ArrayLike<number>, [n, c, h, w]: readonly number[]): Float32Array {
  return Float32Array.from({ length: n * c * h * w }, (_, i) => {
    const [channel, pixel, image] = [i % c, Math.floor(i / c) % (h * w), Math.floor(i / (c * h * w))];
    return values[(image * c + channel) * h * w + pixel];
  });
}

/** Compiles, feeds what the program takes of `feeds`, reads everything. */
async function run(
  outputs: Record<string, Tensor>,
  feeds: Record<string, Values>,
  updates: readonly Tensor[] = [],
): Promise<Record<string, Values>> {
  const program = await Program.compile(await sharedDevice(), { outputs, updates });
  const wanted = Object.fromEntries(Object.entries(feeds).filter(([name]) => program.takes(name)));
  const values = await program.run(wanted, Object.keys(outputs));
  program.destroy();
  return values;
}

for (const name of readdirSync(folder).filter((file) => file.endsWith(".safetensors"))) {
  test(`${name}: features, losses, gradients and running statistics are PyTorch's`, async () => {
    const device = await sharedDevice();
    const { metadata, tensors } = await readSafetensors(join(folder, name));
    const config = parseModelConfig(JSON.parse(metadata.config));
    const [weights, expected] = ["weight.", "expect."].map(
      (prefix) =>
        new Map(
          [...tensors]
            .filter(([key]) => key.startsWith(prefix))
            .map(([key, { shape, data }]) => [key.slice(prefix.length), { shape, data: data as Float32Array }]),
        ),
    );
    const { shape, data } = tensors.get("images")!;
    const images = input("images", [shape[0], ...config.imageSize, 3]);
    const feeds: Record<string, Values> = { images: toNhwc(data as Float32Array, shape) };
    const trains = expected.has("loss.total");

    const store = new ParameterStore();
    const step = trains ? trainingStep(store, config, images) : null;
    const [features] = fuse([modelOf(config).represent(new Build(store, false), config, images)]);
    store.allocate(device, 0);
    assert.equal(store.load(device, weights, name), { missing: [], unknown: [] });
    const errorOf = (key: string, values: ArrayLike<number>) => relativeError(values, expected.get(key)!.data);
    const evaluated = await run({ features }, feeds);
    assert.ok(errorOf("eval.features", evaluated.features) < 1e-4);
    if (step) {
      feeds.labels = Int32Array.from(tensors.get("labels")!.data as Int32Array);
      feeds.partLabels = partLabels(feeds.labels as Int32Array, config);
      feeds.dropoutSeed = Uint32Array.of(Number(metadata.dropoutSeed));
      feeds.hyper = Float32Array.of(0, 0, 0, 0);
      const gradients = Object.fromEntries(step.gradients.map((g, i) => [`gradient ${i}`, g]));
      const values = await run({ ...step.losses, ...step.features, ...gradients }, feeds, step.updates);
      assert.ok(errorOf("train.main", values.main) < 1e-4);
      const losses = [...expected.keys()].filter((key) => key.startsWith("loss.")).map((key) => key.slice(5));
      assert.equal(Object.keys(step.losses).sort(), losses.sort());
      for (const loss of losses) assert.ok(errorOf(`loss.${loss}`, values[loss]) < 1e-4, loss);

      const compare = (prefix: string, actual: ReadonlyMap<string, ArrayLike<number>>, bound: number) => {
        const names = [...actual.keys()].filter((key) => expected.has(prefix + key));
        assert.is(names.length, [...expected.keys()].filter((key) => key.startsWith(prefix)).length);
        const joined = (of: (key: string) => ArrayLike<number>) => names.flatMap((key) => Array.from(of(key)));
        const off = relativeError(
          joined((key) => actual.get(key)!),
          joined((key) => expected.get(prefix + key)!.data),
        );
        assert.ok(off < bound, `${prefix} is off by ${off}`);
      };
      const made = step.gradients.map((_, i) => values[`gradient ${i}`] as Float32Array);
      compare("grad.", store.toDisk(made), 1e-3);
      const after = await store.read(device);
      compare("running.", new Map([...after].map(([key, { data }]) => [key, data])), 1e-4);
    }
    store.destroy(device);
  });
}

const TINY = { layers: [1, 1, 2, 1], width: 4, imageSize: [96, 32], identities: 5 };
const TRAINABLE = [
  { model: "ide", partDim: 8 },
  { model: "pcb", parts: 3, partDim: 8 },
  { model: "mgn", parts: 3, partDim: 8 },
  { model: "pyramid", parts: 3, partDim: 8 },
];

/** By what share of itself the first step should lower the loss, if the gradient is right. */
const STEP = 1e-3;

for (const settings of TRAINABLE) {
  test(`${settings.model}: three steps lower the loss, at first by what the gradient says, with the same bits twice`, async () => {
    const device = await sharedDevice();
    const config = parseModelConfig({ ...TINY, ...settings });
    const labels = Int32Array.of(0, 0, 1, 1, 2, 2);
    const train = async () => {
      const store = new ParameterStore();
      const images = input("images", [6, ...config.imageSize, 3]);
      const step = trainingStep(store, config, images);
      store.allocate(device, 1);
      const { total } = step.losses;
      const squared = step.gradients.map((g) => sum(mul(g, g))).reduce((a, b) => add(a, b));
      const program = await Program.compile(device, { outputs: { total, squared }, updates: step.updates });
      const feeds: Record<string, Values> = {
        images: typed(draw(images.size, "uniform", 5)),
        labels,
        partLabels: partLabels(labels, config),
        // One mask for all steps: what lowers the loss is the step alone.
        dropoutSeed: Uint32Array.of(3),
      };
      const wanted = Object.fromEntries(Object.entries(feeds).filter(([name]) => program.takes(name)));
      const losses: number[] = [];
      const once = async (rate: number, momentum: number) => {
        const hyper = Float32Array.of(rate, momentum, 5e-4, 0);
        const values = await program.run({ ...wanted, hyper }, ["total", "squared"]);
        return { loss: values.total[0], squared: values.squared[0] };
      };
      // Mining makes the loss so crooked that long steps may raise it: these are to lower it by a thousandth each.
      const start = await once(0, 0);
      const rate = (STEP * start.loss) / start.squared;
      for (const momentum of [0, 0.9, 0.9, 0.9]) losses.push((await once(rate, momentum)).loss);
      const values = [...(await store.read(device)), ...(await store.readMomenta(device))];
      program.destroy();
      store.destroy(device);
      return { losses, values };
    };
    const [one, two] = [await train(), await train()];
    assert.equal(one.losses, two.losses);
    const share = (one.losses[0] - one.losses[1]) / (STEP * one.losses[0]);
    assert.ok(share > 0.7 && share < 1.1, `the first step lowers the loss by ${share} of what the gradient says`);
    for (let i = 1; i < 4; i++) assert.ok(one.losses[i] < one.losses[i - 1], `losses ${one.losses}`);
    one.values.forEach(([name, { data }], i) => {
      assert.ok(sameBits(data, two.values[i][1].data), `${name} differs between two runs`);
    });
  });
}

test("the backbone learns at the rate that is asked for, the rest at the full one", async () => {
  const device = await sharedDevice();
  const config = parseModelConfig({ ...TINY, ...TRAINABLE[1] });
  const labels = Int32Array.of(0, 0, 1, 1);
  const movedBy = async (lrBackbone: number) => {
    const store = new ParameterStore();
    const images = input("images", [4, ...config.imageSize, 3]);
    const step = trainingStep(store, config, images, { lrBackbone });
    store.allocate(device, 1);
    const before = await store.read(device);
    const feeds = {
      images: typed(draw(images.size, "uniform", 5)),
      labels,
      partLabels: partLabels(labels, config),
      hyper: Float32Array.of(1, 0, 0, 0),
    };
    await run({ total: step.losses.total }, feeds, step.updates);
    const moved = new Map<string, Float32Array>();
    for (const [name, { data }] of await store.read(device)) {
      if (!name.includes("running"))
        moved.set(
          name,
          data.map((v, i) => v - before.get(name)!.data[i]),
        );
    }
    store.destroy(device);
    return moved;
  };
  const [slow, full] = [await movedBy(0.5), await movedBy(1)];
  for (const [name, values] of full) {
    const expected = name.startsWith("backbone.") ? values.map((v) => v / 2) : values;
    assert.ok(relativeError(slow.get(name)!, expected) < 1e-3, name);
  }
});

/** A store with the initial values of `config`, the classifiers included. */
async function allocated(config: ModelConfig): Promise<ParameterStore> {
  const store = new ParameterStore();
  const images = input("images", [1, ...config.imageSize, 3]);
  const { represent, classifiers } = modelOf(config);
  if (config.model === "dsa") represent(new Build(store, false), config, images);
  else classifiers(new Build(store, false), config, images);
  store.allocate(await sharedDevice(), 1);
  return store;
}

test("ide: initial values of its head are those of the published code", async () => {
  const store = await allocated(parseModelConfig({ ...TINY, model: "ide", partDim: 512 }));
  const values = await store.read(await sharedDevice());
  const moments = (name: string) => {
    const { data, shape } = values.get(name)!;
    const mean = data.reduce((a, b) => a + b, 0) / data.length;
    const deviation = Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length);
    return { mean, deviation, shape, data };
  };
  const gamma = moments("bn.weight");
  assert.ok(Math.abs(gamma.mean - 1) < 0.005 && Math.abs(gamma.deviation / 0.02 - 1) < 0.2, JSON.stringify(gamma));
  const { deviation, shape } = moments("embedding.weight");
  assert.ok(Math.abs(deviation / Math.sqrt(2 / shape[0]) - 1) < 0.05, "fan out");
  assert.ok(Math.abs(moments("classifier.weight").deviation / 0.001 - 1) < 0.1);
  for (const name of ["embedding.bias", "bn.bias", "classifier.bias"])
    assert.ok(moments(name).data.every((v) => v === 0));
  assert.ok(moments("backbone.bn1.weight").data.every((v) => v === 1));
  store.destroy(await sharedDevice());
});

for (const settings of [...TRAINABLE, { model: "dsa" }]) {
  test(`${settings.model}: features do not depend on the other images of the batch`, async () => {
    const config = parseModelConfig({ ...TINY, ...settings });
    const store = await allocated(config);
    const pictures = typed(draw(3 * 96 * 32 * 3, "uniform", 5));
    const [alone, together] = await Promise.all(
      [1, 3].map(async (n) => {
        const images = input("images", [n, ...config.imageSize, 3]);
        const h = modelOf(config).represent(new Build(store, false), config, images);
        return (await run({ h }, { images: pictures.slice(0, images.size) })).h;
      }),
    );
    assert.ok(relativeError(together.subarray(0, alone.length), alone) < 1e-6);
    store.destroy(await sharedDevice());
  });
}

for (const { settings, names, map } of [
  { settings: TRAINABLE[0], names: ["global"], map: [6, 2] },
  { settings: TRAINABLE[1], names: ["stripe 1", "stripe 2", "stripe 3"], map: [6, 2] },
  {
    settings: TRAINABLE[2],
    names: [
      ...["branch 1", "branch 2", "branch 3", "branch 2, stripe 1", "branch 2, stripe 2"],
      ...["branch 3, stripe 1", "branch 3, stripe 2", "branch 3, stripe 3"],
    ],
    map: [3, 1],
  },
  {
    settings: TRAINABLE[3],
    names: ["stripe 1", "stripe 2", "stripe 3", "stripes 1 to 2", "stripes 2 to 3", "stripes 1 to 3"],
    map: [6, 2],
  },
]) {
  test(`${settings.model}: its classifiers look at the features that training gives them`, async () => {
    const config = parseModelConfig({ ...TINY, ...settings });
    const store = await allocated(config);
    const images = input("images", [2, ...config.imageSize, 3]);
    const list = modelOf(config).classifiers(new Build(store, false), config, images);
    assert.equal(
      list.map((classifier) => classifier.name),
      names,
    );
    assert.equal(list[0].map.shape, [2, ...map, 32 * TINY.width]);
    assert.is(modelOf(config).classifiersPerImage(config), names.length);
    const h = modelOf(config).represent(new Build(store, false), config, images);
    const scores = Object.fromEntries(list.map((classifier, k) => [`${k}`, classifier.scores]));
    const values = await run({ h, ...scores }, { images: typed(draw(images.size, "uniform", 5)) });
    const weights = await store.read(await sharedDevice());
    for (let k = 0; k < list.length; k++) {
      const prefix = config.model === "ide" ? "" : `parts.${k}.`;
      assert.ok(relativeError(values[k], linear(values.h, h.shape[1], k, weights, `${prefix}classifier`)) < 1e-5);
    }
    store.destroy(await sharedDevice());
  });
}

/** Scores of classifier k from its share of the features, in float64. */
function linear(h: Values, width: number, k: number, weights: ReadonlyMap<string, NamedArray>, name: string): number[] {
  const { data: w, shape } = weights.get(`${name}.weight`)!;
  const bias = weights.get(`${name}.bias`)!.data;
  const [out, dim] = shape;
  return Array.from({ length: (h.length / width) * out }, (_, i) => {
    const [row, o] = [Math.floor(i / out), i % out];
    let sum = bias[o];
    for (let d = 0; d < dim; d++) sum += w[o * dim + d] * h[row * width + k * dim + d];
    return sum;
  });
}

test("DSA-reID's network has nothing to train with, and says why", () => {
  const config = parseModelConfig({ ...TINY, model: "dsa" });
  const images = input("images", [2, ...config.imageSize, 3]);
  assert.throws(() => trainingStep(new ParameterStore(), config, images), /unpublished.*cannot be trained/);
  assert.throws(
    () => modelOf(config).classifiers(new Build(new ParameterStore(), false), config, images),
    /classifiers/,
  );
});

test("any size that the stripes divide is built", () => {
  for (const { settings, dim } of [
    { settings: { model: "pcb", imageSize: [96, 32], parts: 2, width: 6, partDim: 7 }, dim: 14 },
    { settings: { model: "pcb", imageSize: [90, 35], parts: 3 }, dim: 3 * 256 },
    { settings: { model: "mgn", imageSize: [64, 64], parts: 2, partDim: 16 }, dim: 4 * 16 },
    { settings: { model: "mgn", imageSize: [33, 20], parts: 1, partDim: 16 }, dim: 16 },
    { settings: { model: "pyramid", imageSize: [80, 32], parts: 5, partDim: 3 }, dim: 45 },
    { settings: { model: "ide", imageSize: [33, 17], layers: [2, 1, 1, 1] }, dim: 512 },
    { settings: { model: "dsa", imageSize: [48, 16], width: 3 }, dim: 2 * 96 },
  ]) {
    const config = parseModelConfig({ ...TINY, ...settings });
    const images = input("images", [2, ...config.imageSize, 3]);
    const h = modelOf(config).represent(new Build(new ParameterStore(), false), config, images);
    assert.equal(h.shape, [2, dim]);
    assert.is(size(h.shape), 2 * dim);
  }
});

test.after(closeDevice);
test.run();
