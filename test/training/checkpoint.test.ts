/** Checkpoints opened for use, whose values are loaded without being held. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { input } from "#src/graph/tensor.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { Extractor } from "#src/retrieval/extractor.js";
import { openCheckpoint, readCheckpoint, restore, writeCheckpoint } from "#src/training/checkpoint.js";
import { modelConfigOf, type TrainConfig } from "#src/training/config.js";
import { loadConfig } from "#src/training/load-config.js";
import { trainingStep } from "#src/training/step.js";
import { closeDevice, sharedDevice } from "../support/op.js";
import { temporaryFolder } from "../support/tiny.js";

const folder = temporaryFolder();
const PIDS = [3, 1, 4];
const SIZE = ["layers=[1,1,1,1]", "imageSize=[48,16]", "parts=3"];
const config = loadConfig({ set: ["width=4", "partDim=8", ...SIZE] });

async function written(name: string, momenta: boolean): Promise<string> {
  const device = await sharedDevice();
  const store = new ParameterStore();
  trainingStep(store, modelConfigOf(config, PIDS.length), input("images", [4, ...config.imageSize, 3]));
  store.allocate(device, 7);
  const path = join(folder, name);
  await writeCheckpoint(path, device, store, { config, pids: PIDS, step: 5, sampler: null }, momenta);
  store.destroy(device);
  return path;
}

async function forUse(settings: TrainConfig) {
  const device = await sharedDevice();
  const store = new ParameterStore();
  Extractor.declare(store, modelConfigOf(settings, PIDS.length));
  store.allocate(device, null);
  return { device, store };
}

for (const momenta of [true, false]) {
  test(`an opened checkpoint ${momenta ? "with" : "without"} momenta loads what one that was read does`, async () => {
    const path = await written(`momenta-${momenta}.safetensors`, momenta);
    const whole = await readCheckpoint(path);
    assert.is(whole.momenta.size > 0, momenta);
    const first = await forUse(config);
    restore(first.device, first.store, whole);
    const opened = await openCheckpoint(path);
    const { pids, step, sampler, names } = opened;
    assert.equal({ config: opened.config, pids, step, sampler }, { config, pids: PIDS, step: 5, sampler: null });
    assert.equal(names, [...whole.weights.keys()]);
    const second = await forUse(config);
    await opened.restore(second.device, second.store);
    await opened.close();
    const [expected, actual] = [await first.store.read(first.device), await second.store.read(second.device)];
    assert.ok(actual.size > 50);
    assert.equal(actual, expected);
    for (const [name, { data }] of actual) assert.equal(data, whole.weights.get(name)!.data, name);
    for (const { store, device } of [first, second]) store.destroy(device);
  });
}

test("a network of another configuration is refused by name", async () => {
  const path = await written("other.safetensors", false);
  for (const [set, message] of [
    [["width=4", "partDim=8", "spatialAttention=true"], /other\.safetensors lacks backbone\.attention1/],
    [["width=4", "partDim=16"], /parts\.0\.conv1\.weight is \[8, 128, 1, 1\], this model's is \[16, 128, 1, 1\]/],
  ] as const) {
    const { device, store } = await forUse(loadConfig({ set: [...set, ...SIZE] }));
    const opened = await openCheckpoint(path);
    const error = await opened.restore(device, store).then(
      () => assert.unreachable("it was accepted"),
      (e) => e,
    );
    assert.instance(error, UserError);
    assert.match(error.message, message);
    await opened.close();
    store.destroy(device);
  }
});

test("what is no checkpoint is refused when it is opened", async () => {
  const text = join(folder, "text.safetensors");
  writeFileSync(text, "no checkpoint at all, but long enough");
  for (const path of [text, join(folder, "missing.safetensors")]) {
    const error = await openCheckpoint(path).then(
      () => assert.unreachable("it was opened"),
      (e) => e,
    );
    assert.instance(error, UserError);
    assert.match(error.message, path);
  }
});

test.after(closeDevice);
test.run();
