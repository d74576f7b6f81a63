import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { parseModelConfig } from "#src/models/config.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { gradients } from "#src/ops/index.js";
import { Extractor } from "#src/retrieval/extractor.js";
import { configDigest, modelConfigOf } from "#src/training/config.js";
import { loadConfig } from "#src/training/load-config.js";
import { trainingStep } from "#src/training/step.js";
import { mpn } from "../support/mpn.js";
import { closeDevice, draw, sharedDevice, typed } from "../support/op.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const TINY = ["layers=[1,1,1,1]", "width=4", "imageSize=[48,16]", "parts=3", "partDim=8"];
const official = loadConfig({ preset: "official", set: TINY });

test("the preset says what the published code does", () => {
  const config = loadConfig({ preset: "official" });
  assert.equal(
    [config.nesterov, config.prior, config.channelAttention, config.tripletScale * config.margin],
    [true, "uniform", false, 0.4],
  );
  assert.is(config.testInterpolation, "bicubic");
  assert.equal(config.erasingFill, [0.4914, 0.4822, 0.4465]);
  // What is the paper's stays the paper's.
  const paper = loadConfig({ preset: "paper" });
  for (const key of ["lr", "lrStep", "epochs", "subjects", "imagesPerSubject", "erasingAspect", "parts"] as const) {
    assert.equal(config[key], paper[key], key);
  }
  // Erasing values change the weights that a run reaches, the interpolation of test images does not.
  assert.match(configDigest(config), /erasingFill/);
  assert.not.match(configDigest(config), /testInterpolation/);
});

/** The published triplet loss in its own terms: squared distances of unit vectors, the mean over triplets above 0. */
function publishedTriplet(h: Float64Array, labels: readonly number[], margin: number): number {
  const n = labels.length;
  const dim = h.length / n;
  const unit = Array.from({ length: n }, (_, i) => {
    const row = [...h.subarray(i * dim, (i + 1) * dim)];
    const norm = Math.hypot(...row) + 1e-12;
    return row.map((v) => v / norm);
  });
  const squared = (i: number, j: number) => unit[i].reduce((sum, v, k) => sum + (v - unit[j][k]) ** 2, 0);
  const kept: number[] = [];
  for (let a = 0; a < n; a++) {
    const others = labels.map((_, i) => i).filter((i) => i !== a);
    const farthest = Math.max(...others.filter((i) => labels[i] === labels[a]).map((i) => squared(a, i)));
    const values = others.filter((i) => labels[i] !== labels[a]).map((i) => farthest - squared(a, i) + margin);
    if (Math.max(...values) > 0) kept.push(Math.max(...values));
  }
  return kept.length > 0 ? kept.reduce((a, b) => a + b, 0) / kept.length : 0;
}

test("the triplet loss is the published one, margin 0.40 on squared distances, within the whole network's losses", async () => {
  const device = await sharedDevice();
  const labels = [0, 0, 1, 1, 2, 2];
  const config = modelConfigOf(official, 3);
  const feeds = {
    images: typed(draw(6 * 48 * 16 * 3, "uniform", 5)),
    labels: typed(labels, "i32"),
    partLabels: typed(
      labels.flatMap((l) => [l, l, l]),
      "i32",
    ),
  };
  const run = async (tripletScale: number) => {
    const store = new ParameterStore();
    const step = trainingStep(store, { ...config, tripletScale }, input("images", [6, 48, 16, 3]));
    store.allocate(device, 3);
    const { losses, features } = step;
    const first = store.trained.findIndex(({ names }) => names[0] === "backbone.layer4.0.conv3.weight");
    const [gradient] = gradients(losses.triplet, [store.trained[first].tensor]);
    const outputs = {
      triplet: losses.triplet,
      id: losses.id,
      alignment: losses.alignment,
      total: losses.total,
      h: features.main,
      gradient: gradient!,
    };
    const program = await Program.compile(device, { outputs });
    const values = await program.run(feeds, Object.keys(outputs));
    program.destroy();
    store.destroy(device);
    return values;
  };
  const [once, twice] = [await run(1), await run(config.tripletScale)];
  const expected = publishedTriplet(Float64Array.from(twice.h), labels, 0.4);
  assert.ok(expected > 0.01, "some triplet violates the margin");
  assert.ok(Math.abs(twice.triplet[0] / expected - 1) < 1e-4, `${twice.triplet[0]}, published ${expected}`);
  const sum = twice.id[0] + twice.triplet[0] + twice.alignment[0];
  assert.ok(Math.abs(twice.total[0] - sum) < 1e-5 * sum);
  twice.gradient.forEach((g, i) => {
    assert.ok(Math.abs(g - 2 * once.gradient[i]) <= 1e-6 * Math.abs(g) + 1e-12, "the gradient is doubled too");
  });
});

test("the extractor resizes as the configuration says", async () => {
  const device = await sharedDevice();
  const config = parseModelConfig(modelConfigOf(official, 3));
  const store = new ParameterStore();
  Extractor.declare(store, config);
  store.allocate(device, 1);
  const features = async (interpolation: "bilinear" | "bicubic", width: number, height: number) => {
    const extractor = await Extractor.create(device, store, config, { flip: false, batch: 1, interpolation });
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 97 + (i % 7) * 31) % 256);
    const values = await extractor.ofImages([{ width, height, data }]);
    extractor.destroy();
    return [...values];
  };
  assert.equal(await features("bicubic", 16, 48), await features("bilinear", 16, 48), "nothing to resize");
  assert.not.equal(await features("bicubic", 9, 31), await features("bilinear", 9, 31));
  store.destroy(device);
});

test("a training run erases with the preset's values, in normalised space", async () => {
  const dataset = join(temporaryFolder(), "data");
  await writeTinyDataset(dataset);
  const firstLoss = async (name: string, ...settings: string[]) => {
    const out = join(dataset, name);
    const { code, stderr } = await mpn([
      ...["train", dataset, "--out", out, "--preset", "official", "--no-evaluate", ...tinyArguments],
      ...["epochs=1", ...settings].flatMap((setting) => ["--set", setting]),
    ]);
    assert.is(code, 0, stderr);
    return JSON.parse(readFileSync(join(out, "metrics.jsonl"), "utf8").split("\n")[0]).loss;
  };
  const own = await firstLoss("own", "erasing=1");
  assert.equal(await firstLoss("named", "erasing=1", "erasingFill=[0.4914,0.4822,0.4465]"), own);
  assert.not.equal(await firstLoss("paper", "erasing=1", "erasingFill=[0,0,0]"), own);
  const [black, grey] = [
    await firstLoss("black", "erasing=0", "erasingFill=[0,0,0]"),
    await firstLoss("grey", "erasing=0"),
  ];
  assert.equal(black, grey, "where nothing is erased");
});

test.after(closeDevice);
test.run();
