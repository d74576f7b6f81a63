import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import type { StoredTensor } from "#src/formats/safetensors.js";
import { readTorch } from "#src/formats/torch.js";
import { writeTorch } from "#src/formats/torch-write.js";
import { Device } from "#src/gpu/device.js";
import { input } from "#src/graph/tensor.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { Extractor } from "#src/retrieval/extractor.js";
import { initialise, readCheckpoint, restore } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import { checkComplete, officialName, ourName, readForeign } from "#src/training/foreign.js";
import { loadConfig } from "#src/training/load-config.js";
import { trainingStep } from "#src/training/step.js";
import { temporaryFolder } from "../support/tiny.js";

const folder = join(import.meta.dirname, "../formats/torch");
const file = (name: string) => join(folder, name);
const temporary = temporaryFolder();
const SIZE = ["imageSize=[48,16]"];

async function refused(work: Promise<unknown>, message: RegExp): Promise<void> {
  await work.then(
    () => assert.unreachable("it was accepted"),
    (error) => {
      assert.instance(error, UserError, error.stack);
      assert.match(error.message, message);
    },
  );
}

test("names of the published code, with and without module., of torchvision and our own", () => {
  const names: [string, string | null][] = [
    ["local_conv_list.4.0.weight", "parts.4.conv1.weight"],
    ["module.local_conv_list.0.1.running_var", "parts.0.bn1.running_var"],
    ["local_conv_list2.5.0.bias", "parts.5.conv2.bias"],
    ["local_conv_list2.2.1.bias", "parts.2.bn2.bias"],
    ["base.layer3.5.conv2.weight", "backbone.layer3.5.conv2.weight"],
    ["module.fc_list.3.weight", "parts.3.main_classifier.weight"],
    ["fc_list2.3.bias", "parts.3.aux_classifier.bias"],
    ["layer4.0.downsample.1.weight", "backbone.layer4.0.downsample.1.weight"],
    ["conv1.weight", "backbone.conv1.weight"],
    ["backbone.attention2.gate.3.weight", "backbone.attention2.gate.3.weight"],
    ["parts.1.aux_conv1.weight", "parts.1.aux_conv1.weight"],
    ["ca_list.0.conv1.weight", null],
    ["head.weight", null],
    ["local_conv_list3.0.0.weight", null],
  ];
  for (const [theirs, ours] of names) assert.is(ourName(theirs), ours, theirs);
  // There and back.
  for (const name of [
    "parts.4.conv1.weight",
    "parts.0.bn2.running_mean",
    "backbone.bn1.bias",
    "parts.2.aux_classifier.bias",
  ]) {
    assert.is(ourName(officialName(name)), name);
  }
  for (const name of [
    "parts.0.attention.conv1.weight",
    "parts.0.aux_conv1.weight",
    "backbone.attention1.gate.0.weight",
  ]) {
    assert.throws(() => officialName(name), /no counterpart in the published code/);
  }
});

for (const name of ["official.pth", "official-legacy.pth"]) {
  test(`${name}: the network is told from shapes, and every tensor arrives`, async () => {
    const foreign = await readForeign(file(name), { set: SIZE });
    const { config, identities, weights, skipped } = foreign;
    assert.equal([config.layers, config.width, config.parts, config.partDim], [[1, 1, 1, 1], 1, 3, 4]);
    assert.equal([config.preset, config.channelAttention, config.prior, identities], ["official", false, "uniform", 3]);
    assert.ok(skipped.every((n) => n.endsWith("num_batches_tracked")));
    checkComplete(foreign, name);
    // Every weight of the whole training network, by name, shape and value.
    const device = await Device.open({ backend: "null" });
    const store = new ParameterStore();
    trainingStep(store, modelConfigOf(config, identities), input("images", [6, 48, 16, 3]));
    store.allocate(device, 0);
    assert.equal(store.load(device, weights, name), { missing: [], unknown: [] });
    device.close();
    const first = weights.get("backbone.conv1.weight")!.data;
    assert.equal([...first.subarray(0, 3)], [0, 1 / 16, 2 / 16]);
  });
}

test("a backbone of torchvision starts a training, and does not pass as a whole network", async () => {
  const path = file("resnet-legacy.pth");
  const checkpoint = await readCheckpoint(path);
  assert.ok(![...checkpoint.weights.keys()].some((name) => name.includes("fc.")));
  const device = await Device.open({ backend: "null" });
  const config = modelConfigOf(
    loadConfig({ set: ["layers=[1,1,1,1]", "width=1", "parts=3", "partDim=4", ...SIZE] }),
    3,
  );
  const store = new ParameterStore();
  Extractor.declare(store, config);
  store.allocate(device, 0);
  const { loaded, skipped, missing } = initialise(device, store, checkpoint, [1, 2, 3]);
  assert.ok(loaded.length > 0 && loaded.every((name) => name.startsWith("backbone.")));
  assert.equal(skipped, []);
  assert.ok(missing.length > 0 && missing.every((name) => name.startsWith("parts.")));
  assert.throws(() => restore(device, store, checkpoint), /resnet-legacy\.pth lacks parts/);
  await refused(
    readForeign(path, {}).then((f) => checkComplete(f, path)),
    /lacks parts\.0\.conv1\.weight.*mpn train --init/,
  );
  device.close();
});

/** The official fixture with some tensors changed, as a file of its own. */
async function changed(name: string, change: (tensors: Map<string, StoredTensor>) => void): Promise<string> {
  const tensors = await readTorch(file("official.pth"));
  change(tensors);
  const path = join(temporary, name);
  await writeTorch(path, tensors);
  return path;
}

test("what does not fit is refused with a list", async () => {
  const one = (): StoredTensor => ({ dtype: "F32", shape: [1], data: Float32Array.of(1) });
  const unknown = await changed("unknown.pth", (t) => t.set("ca_list.0.weight", one()).set("x", one()));
  await refused(readForeign(unknown, { set: SIZE }), /unknown\.pth: no network here has ca_list\.0\.weight, x\./);
  const lacking = await changed("lacking.pth", (t) => t.delete("local_conv_list2.1.1.running_mean"));
  await refused(
    readForeign(lacking, { set: SIZE }).then((f) => checkComplete(f, "lacking.pth")),
    /lacks parts\.1\.bn2\.running_mean\./,
  );
  const shaped = await changed("shaped.pth", (t) => t.set("local_conv_list.1.1.bias", one()));
  await refused(
    readForeign(shaped, { set: SIZE }).then((f) => checkComplete(f, "shaped.pth")),
    /parts\.1\.bn1\.bias is \[1\], the network's is \[4\]/,
  );
  const twice = await changed("twice.pth", (t) => t.set("module.base.bn1.bias", one()));
  await refused(readForeign(twice, { set: SIZE }), /two of its tensors are backbone\.bn1\.bias/);
  const infinite = await changed("nan.pth", (t) =>
    t.set("base.bn1.bias", { ...one(), data: Float32Array.of(NaN) } as StoredTensor),
  );
  await refused(readForeign(infinite, { set: SIZE }), /base\.bn1\.bias \(F32\) has no finite numbers/);
  const basic = await changed("basic.pth", (t) => t.delete("base.layer1.0.conv3.weight"));
  await refused(readForeign(basic, { set: SIZE }), /basic blocks/);
});

test.run();
