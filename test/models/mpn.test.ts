import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { featureMap } from "#src/models/mpn.js";
import { Build } from "#src/nn/layers.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { partLabels, type TrainingStep, trainingStep } from "#src/training/step.js";
import { closeDevice, draw, relativeError, sameBits, sharedDevice, typed } from "../support/op.js";

/** A model of a few thousand weights that has every layer of the paper's. */
const SMALL = { layers: [1, 1, 1, 1], width: 4, imageSize: [96, 32], parts: 3, partDim: 8, identities: 5 };

function built(settings: object, images = 2): { config: ModelConfig; store: ParameterStore; step: TrainingStep } {
  const config = parseModelConfig(settings);
  const store = new ParameterStore();
  const step = trainingStep(store, config, input("images", [images, ...config.imageSize, 3]));
  return { config, store, step };
}

const countOf = (settings: object) => built(settings).store.count(/classifier/);

test("MPN without CA has the paper's number of parameters (Table 8), with CA 797,952 more", () => {
  const without = countOf({ channelAttention: false });
  assert.is(without.parameters, 31_390_784);
  assert.is(without.withStatistics, 31_456_192);
  assert.is(countOf({}).parameters - without.parameters, 797_952);
});

test("layers that are not shared have parameters of their own, for every part", () => {
  const shared = countOf({ channelAttention: false }).parameters;
  // Weight, bias, gamma and beta of a part's layer.
  const conv1 = 6 * (2048 * 512 + 3 * 512);
  const conv2 = 6 * (512 * 512 + 3 * 512);
  assert.is(countOf({ channelAttention: false, shareConv1: false }).parameters, shared + conv1);
  assert.is(countOf({ channelAttention: false, shareConv2: false }).parameters, shared + conv2);
  for (const tasks of ["main", "aux"]) assert.is(countOf({ channelAttention: false, tasks }).parameters, shared);
});

const folder = join(import.meta.dirname, "../fixtures");

test("names and shapes are those of the reference's state_dict, in every variant", async () => {
  // The null backend has memory and runs nothing.
  const device = await Device.open({ backend: "null" });
  let variants = 0;
  for (const name of readdirSync(folder)) {
    const { metadata, tensors } = await readSafetensors(join(folder, name));
    if (metadata.kind !== "mpn") continue;
    const { store } = built(JSON.parse(metadata.config));
    const weights = new Map<string, NamedArray>();
    for (const [key, { shape, data }] of tensors) {
      if (key.startsWith("weight.")) weights.set(key.slice(7), { shape, data: data as Float32Array });
    }
    store.allocate(device, 0);
    assert.equal(store.load(device, weights, name), { missing: [], unknown: [] }, name);
    store.destroy(device);
    variants++;
  }
  device.close();
  assert.ok(variants > 10);
});

test("a feature map has a sixteenth of the picture's size, rounded up, and F and h the paper's sizes", () => {
  const config = parseModelConfig({});
  const build = () => new Build(new ParameterStore(), false);
  const images = input("images", [2, 384, 128, 3]);
  assert.equal(featureMap(build(), config, images).shape, [2, 24, 8, 2048]);
  assert.equal(modelOf(config).represent(build(), config, images).shape, [2, 3072]);
  const odd = parseModelConfig({ ...SMALL, imageSize: [90, 35], parts: 3 });
  assert.equal(featureMap(build(), odd, input("images", [1, 90, 35, 3])).shape, [1, 6, 3, 128]);
});

async function initialValues(seed: number): Promise<Map<string, NamedArray>> {
  const device = await sharedDevice();
  const { store } = built({ ...SMALL, width: 16, partDim: 64, identities: 200 });
  store.allocate(device, seed);
  const values = await store.read(device);
  store.destroy(device);
  return values;
}

const deviation = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

test("initial values: He normal, uniform by fan in, N(0, 0.001), ones and zeros", async () => {
  const kinds = new Map<string, number>();
  for (const [name, { shape, data }] of await initialValues(7)) {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const near = (actual: number, expected: number) =>
      assert.ok(
        Math.abs(actual / expected - 1) < 5 / Math.sqrt(2 * data.length),
        `${name}: deviation ${actual}, expected ${expected}`,
      );
    let kind: string;
    if (/classifier\.weight/.test(name)) {
      kind = "classifier";
      near(deviation(data), 0.001);
    } else if (/classifier\.bias|(bn\d|downsample\.1)\.bias|running_mean/.test(name)) {
      kind = "zero";
      assert.ok(
        data.every((v) => v === 0),
        name,
      );
    } else if (/(bn\d|downsample\.1)\.weight|running_var/.test(name)) {
      kind = "one";
      assert.ok(
        data.every((v) => v === 1),
        name,
      );
    } else if (name.startsWith("backbone.")) {
      kind = "backbone";
      const [out, , kh, kw] = shape;
      near(deviation(data), Math.sqrt(2 / (out * kh * kw)));
      assert.ok(largest(data) > 2 * deviation(data), `${name} is no normal distribution`);
    } else if (name.endsWith(".weight")) {
      kind = "head";
      const bound = 1 / Math.sqrt(fanIn);
      assert.ok(largest(data) <= bound && largest(data) > 0.9 * bound, name);
      near(deviation(data), bound / Math.sqrt(3));
    } else {
      kind = "head bias";
      assert.ok(largest(data) <= 1 / Math.sqrt(16) && data.some((v) => v < 0) && data.some((v) => v > 0), name);
    }
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  assert.is(kinds.size, 6);
});

test("one seed gives the same initial values, another gives others, and no two parts start alike", async () => {
  const [a, same, other] = [await initialValues(7), await initialValues(7), await initialValues(8)];
  const name = "parts.0.conv1.weight";
  assert.equal(same.get(name), a.get(name));
  assert.not.equal(other.get(name), a.get(name));
  assert.not.equal(a.get("parts.1.conv1.weight"), a.get(name));
});

function feeds(config: ModelConfig, images: number) {
  const { imageSize, identities } = config;
  const labels = Int32Array.from({ length: images }, (_, i) => Math.floor(i / 2) % identities);
  const cells = Math.ceil(imageSize[0] / 16) * Math.ceil(imageSize[1] / 16);
  return {
    images: typed(draw(images * imageSize[0] * imageSize[1] * 3, "uniform", 5)),
    mask: Float32Array.from({ length: images * cells }, (_, i) => Number(i % 5 > 0)),
    roi: Float32Array.from({ length: images * 4 }, (_, i) => [1, 0, 6, 2][i % 4]),
    labels,
    partLabels: partLabels(labels, config),
    hyper: Float32Array.of(0.01, 0.9, 5e-4, 0),
  };
}

test("three training steps give the same bits twice, by a program made anew, and the first lowers the loss", async () => {
  const device = await sharedDevice();
  const train = async () => {
    const { config, store, step } = built(SMALL, 6);
    store.allocate(device, 1);
    const outputs = { total: step.losses.total, triplet: step.losses.triplet! };
    const program = await Program.compile(device, { outputs, updates: step.updates });
    const losses: number[] = [];
    for (let i = 0; i < 3; i++) losses.push((await program.run(feeds(config, 6), ["total"])).total[0]);
    const values = [...(await store.read(device)), ...(await store.readMomenta(device))];
    program.destroy();
    store.destroy(device);
    return { losses, values };
  };
  const [one, two] = [await train(), await train()];
  assert.equal(one.losses, two.losses);
  assert.ok(one.losses[1] < one.losses[0], `losses ${one.losses}`);
  one.values.forEach(([name, { data }], i) => {
    assert.ok(sameBits(data, two.values[i][1].data), `${name} differs between two runs`);
  });
});

test("evaluation does not depend on the other images of the batch", async () => {
  const device = await sharedDevice();
  const config = parseModelConfig(SMALL);
  const store = new ParameterStore();
  const { represent } = modelOf(config);
  const features = [1, 3].map((n) => represent(new Build(store, false), config, input("images", [n, 96, 32, 3])));
  store.allocate(device, 1);
  const pictures = typed(draw(3 * 96 * 32 * 3, "uniform", 5));
  const [alone, together] = await Promise.all(
    features.map(async (h) => {
      const program = await Program.compile(device, { outputs: { h } });
      const { h: values } = await program.run({ images: pictures.slice(0, h.shape[0] * 96 * 32 * 3) }, ["h"]);
      program.destroy();
      return values;
    }),
  );
  assert.ok(relativeError(together.subarray(0, alone.length), alone) < 1e-6);
  store.destroy(device);
});

test("shared batch norms move by both tasks, or by MT alone without another weight", async () => {
  const device = await sharedDevice();
  const labels = Int32Array.of(0, 0, 1, 1);
  const run = async (settings: object) => {
    const { config, store, step } = built({ ...SMALL, alignment: "none", ...settings }, 4);
    store.allocate(device, 3);
    const feeds = {
      images: typed(draw(4 * 96 * 32 * 3, "uniform", 5)),
      mask: typed(draw(4 * 12, "uniform", 6).map((v) => (v > 0 ? 1 : 0))),
      roi: Float32Array.from([0, 1, 2, 3].flatMap((i) => [i, 0, 6, 2])),
      labels,
      partLabels: partLabels(labels, config),
      hyper: Float32Array.of(0.1, 0.9, 5e-4, 0),
    };
    const program = await Program.compile(device, { outputs: { total: step.losses.total }, updates: step.updates });
    const taken = Object.fromEntries(Object.entries(feeds).filter(([name]) => program.takes(name)));
    await program.run(taken, ["total"]);
    const values = await store.read(device);
    program.destroy();
    store.destroy(device);
    return values;
  };
  const [both, own, main] = await Promise.all([
    run({}),
    run({ sharedStatistics: false }),
    run({ sharedStatistics: false, tasks: "main" }),
  ]);
  const differs = new Set<string>();
  for (const [name, { data }] of both) {
    if (!sameBits(data, own.get(name)!.data)) differs.add(name.replace(/\d+/g, "K"));
    if (name.includes("running_")) assert.ok(sameBits(own.get(name)!.data, main.get(name)!.data), name);
  }
  const layers = ["bn1", "bn2", "attention.bn1", "attention.bn2"];
  const moved = layers.flatMap((layer) =>
    ["mean", "var"].map((of) => `parts.K.${layer}.running_${of}`.replace(/bn\d/, "bnK")),
  );
  assert.equal([...differs].sort(), [...new Set(moved)].sort());
});

test.after(closeDevice);
test.run();
