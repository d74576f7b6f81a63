/** `--init`: what one network takes over from another's checkpoint. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { type Checkpoint, initialise } from "#src/training/checkpoint.js";
import { loadConfig } from "#src/training/load-config.js";
import { trainingStep } from "#src/training/step.js";
import { closeDevice, sharedDevice } from "../support/op.js";

const TINY = { layers: [1, 1, 2, 1], width: 4, imageSize: [96, 16], partDim: 4, identities: 3 };

async function network(settings: object, seed: number) {
  const config = parseModelConfig({ ...TINY, ...settings });
  const store = new ParameterStore();
  trainingStep(store, config, input("images", [4, ...config.imageSize, 3]));
  store.allocate(await sharedDevice(), seed);
  return { store, config };
}

/** What the file of a network with these initial values would hold. */
async function checkpointOf(settings: object, pids: number[]): Promise<Checkpoint> {
  const device = await sharedDevice();
  const { store, config } = await network(settings, 1);
  const weights = await store.read(device);
  store.destroy(device);
  const train = loadConfig({ model: config.model, set: ["width=4", "layers=[1,1,2,1]"] });
  return { path: "other.safetensors", config: train, pids, step: 9, sampler: null, weights, momenta: new Map() };
}

async function started(settings: object, from: Checkpoint, pids: number[]) {
  const device = await sharedDevice();
  const { store, config } = await network(settings, 2);
  const before = await store.read(device);
  const report = initialise(device, store, from, pids, modelOf(config).initialName);
  const after = await store.read(device);
  store.destroy(device);
  for (const name of report.missing) assert.equal(after.get(name), before.get(name), `${name} keeps its values`);
  assert.equal([...report.loaded, ...report.missing].sort(), [...after.keys()].sort());
  return { report, after };
}

test("MGN's branches start as copies of the backbone's last layers, its trunk as the first ones", async () => {
  const ide = await checkpointOf({ model: "ide" }, [1, 2, 3]);
  const { report, after } = await started({ model: "mgn" }, ide, [1, 2, 3]);
  for (const [name, source] of [
    ["backbone.conv1.weight", "backbone.conv1.weight"],
    ["backbone.layer3.0.conv2.weight", "backbone.layer3.0.conv2.weight"],
    ["branches.0.layer3.1.conv1.weight", "backbone.layer3.1.conv1.weight"],
    ["branches.2.layer4.0.downsample.0.weight", "backbone.layer4.0.downsample.0.weight"],
    ["branches.1.layer4.0.bn3.running_var", "backbone.layer4.0.bn3.running_var"],
  ]) {
    assert.equal(after.get(name), ide.weights.get(source), name);
  }
  assert.ok(report.missing.every((name) => name.startsWith("parts.")));
  assert.ok(report.skipped.every((name) => /^(embedding|bn|classifier)\./.test(name)));
});

test("a branch that the checkpoint has is loaded as it is", async () => {
  const mgn = await checkpointOf({ model: "mgn", parts: 2 }, [1, 2, 3]);
  const { report, after } = await started({ model: "mgn", parts: 2 }, mgn, [1, 2, 3]);
  assert.equal([report.missing, report.skipped], [[], []]);
  for (const [name, value] of mgn.weights) assert.equal(after.get(name), value, name);
});

test("classifiers of other people are skipped, although they would fit", async () => {
  const pcb = await checkpointOf({ model: "pcb", parts: 3 }, [1, 2, 3]);
  const { report } = await started({ model: "pcb", parts: 3 }, pcb, [1, 2, 4]);
  const classifiers = [0, 1, 2].flatMap((k) => [`parts.${k}.classifier.weight`, `parts.${k}.classifier.bias`]);
  assert.equal([...report.skipped].sort(), [...classifiers].sort());
  assert.equal([...report.missing].sort(), [...classifiers].sort());
});

test("parts of another shape are left out, those without a counterpart too", async () => {
  const pcb = await checkpointOf({ model: "pcb", parts: 3 }, [1, 2, 3]);
  const { report } = await started({ model: "pcb", parts: 6, partDim: 5 }, pcb, [1, 2, 3]);
  assert.ok(report.loaded.every((name) => name.startsWith("backbone.")));
  // Weight, bias and four vectors of batch norm, weight and bias of the classifier.
  assert.is(report.missing.length, 6 * 8);
  assert.is(report.skipped.length, 3 * 8);
});

test("another backbone is refused", async () => {
  const ide = await checkpointOf({ model: "ide" }, [1, 2, 3]);
  const device = await sharedDevice();
  const { store } = await network({ model: "ide", width: 8 }, 2);
  assert.throws(
    () => initialise(device, store, ide, [1, 2, 3]),
    /other\.safetensors: no layer of the backbone fits this network; its width is 4, its layers \[1, 1, 2, 1\]/,
  );
  store.destroy(device);
});

test.after(closeDevice);
test.run();
