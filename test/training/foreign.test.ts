import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import type { StoredTensor } from "#src/formats/safetensors.js";
import { readTorch } from "#src/formats/torch.js";
import { writeTorch } from "#src/formats/torch-write.js";
import { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { Extractor } from "#src/retrieval/extractor.js";
import { initialise, readCheckpoint, restore, TRAINING_ONLY } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import {
  checkComplete,
  type ForeignWeights,
  loadsStrictly,
  officialName,
  ourName,
  readForeign,
} from "#src/training/foreign.js";
import { loadConfig } from "#src/training/load-config.js";
import { trainingStep } from "#src/training/step.js";
import { closeDevice, relativeError, sharedDevice } from "../support/op.js";
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
    ["base.0.weight", "backbone.conv1.weight"],
    ["module.base.1.running_mean", "backbone.bn1.running_mean"],
    ["base.6.5.conv2.weight", "backbone.layer3.5.conv2.weight"],
    ["base.7.0.downsample.0.weight", "backbone.layer4.0.downsample.0.weight"],
    ["base.layer3.5.conv2.weight", "backbone.layer3.5.conv2.weight"],
    ["module.Sfc_list.3.weight", "parts.3.main_classifier.weight"],
    ["Tfc_list.3.bias", "parts.3.aux_classifier.bias"],
    ["module.any.5.channel_attn.conv1.conv.bias", "parts.5.attention.conv1.bias"],
    ["any.0.channel_attn.conv2.bn.running_var", "parts.0.attention.bn2.running_var"],
    ["model.layer2.0.bn3.bias", "backbone.layer2.0.bn3.bias"],
    ["module.model.fc.0.weight", "embedding.weight"],
    ["model.fc.1.running_var", "bn.running_var"],
    ["classifier.0.bias", "classifier.bias"],
    ["layer4.0.downsample.1.weight", "backbone.layer4.0.downsample.1.weight"],
    ["conv1.weight", "backbone.conv1.weight"],
    ["backbone.attention2.gate.3.weight", "backbone.attention2.gate.3.weight"],
    ["parts.1.aux_conv1.weight", "parts.1.aux_conv1.weight"],
    ["embedding.bias", "embedding.bias"],
    ["ca_list.0.conv1.weight", null],
    ["any.channel_attn.conv1.conv.weight", null],
    ["ha1.soft_attn.channel_attn.conv1.conv.weight", null],
    ["local_conv_list.0.3.channel_attn.conv1.conv.weight", null],
    ["base.2.weight", null],
    ["fc_list.3.weight", null],
    ["head.weight", null],
    ["local_conv_list3.0.0.weight", null],
  ];
  for (const [theirs, ours] of names) assert.is(ourName(theirs), ours, theirs);
  for (const name of [
    "parts.0.attention.conv1.weight",
    "parts.0.aux_conv1.weight",
    "backbone.attention1.gate.0.weight",
  ]) {
    assert.throws(() => officialName(name), /of mpn has no counterpart in the published code/);
  }
  assert.throws(() => officialName("parts.0.conv.weight", "pcb"), /of pcb has no counterpart/);
  assert.throws(() => officialName("backbone.conv1.weight", "pcb"), /of pcb has no counterpart/);
  assert.throws(() => officialName("parts.0.conv1.weight", "ide"), /of ide has no counterpart/);
});

for (const [name, model] of [
  ["mpn.pth", "mpn"],
  ["ide.pth", "ide"],
] as const) {
  test(`${name}: our names go back to those that torch asks for, all but the counters`, async () => {
    const { weights } = await readForeign(file(name), { set: SIZE });
    const asked = [...(await readTorch(file(name))).keys()].filter((n) => !n.endsWith("num_batches_tracked"));
    const given = [...weights.keys()].map((ours) => officialName(ours, model));
    assert.equal(given.map(ourName), [...weights.keys()]);
    assert.equal(given.sort(), asked.sort());
    assert.ok(loadsStrictly(weights, model));
    const evaluated = new Map([...weights].filter(([n]) => !TRAINING_ONLY.test(n)));
    assert.not.ok(loadsStrictly(evaluated, model));
  });
}

/** A network here with the weights of a file, on the batch whose answers of torch lie beside it. */
async function ours({ config, identities, weights }: ForeignWeights, tasks: "main" | "aux" | null) {
  const device = await sharedDevice();
  const model = { ...modelConfigOf(config, identities), ...(tasks && { tasks }) };
  const { shape, data } = (await readTorch(file("answers.pth"))).get("images")!;
  const [n, channels, height, width] = shape;
  const images = input("images", [n, height, width, channels]);
  const [store, plane] = [new ParameterStore(), height * width];
  const build = new Build(store, false);
  const network = modelOf(model);
  const features = network.represent(build, model, images);
  const classifiers = network.classifiers(build, model, images);
  store.allocate(device, null);
  assert.equal(store.load(device, weights, "weights").missing, []);
  const outputs = Object.fromEntries([["features", features], ...classifiers.map(({ scores }, k) => [`${k}`, scores])]);
  const program = await Program.compile(device, { outputs });
  const nhwc = Float32Array.from(data as Float32Array, (_, i) => {
    const [pixel, channel] = [Math.floor(i / channels) % plane, i % channels];
    return Number(data[(Math.floor(i / channels / plane) * channels + channel) * plane + pixel]);
  });
  const values = await program.run({ images: nhwc }, Object.keys(outputs));
  program.destroy();
  // Image after image, and there part after part, as torch's are.
  const scores = Array.from({ length: n }, (_, image) =>
    classifiers.flatMap((__, k) => [...values[k].subarray(image * identities, (image + 1) * identities)]),
  );
  return { features: values.features, scores: scores.flat() };
}

for (const [name, model, tasks] of [
  ["mpn", "mpn", ["main", "aux"]],
  ["mpn-attention", "mpn", ["main", "aux"]],
  ["ide", "ide", [null]],
] as const) {
  test(`${name}.pth: features and scores are those of torch`, async () => {
    const path = file(`${name}.pth`);
    const foreign = await readForeign(path, { set: SIZE });
    checkComplete(foreign, path);
    assert.equal([foreign.config.model, foreign.config.preset], [model, "official"]);
    assert.is(foreign.config.channelAttention, name !== "mpn");
    const expected = await readTorch(file("answers.pth"));
    for (const task of tasks) {
      const values = await ours(foreign, task);
      const key = `${name}.${task === "aux" ? "aux_" : ""}`;
      for (const what of ["features", "scores"] as const) {
        const theirs = expected.get(key + what)!.data as Float32Array;
        assert.is(values[what].length, theirs.length);
        assert.ok(relativeError(values[what], theirs) < 1e-5, key + what);
      }
    }
  });
}

test("the published IDE starts MPN and IDE", async () => {
  const checkpoint = await readCheckpoint(file("ide.pth"));
  assert.equal(checkpoint.config.layers, [1, 1, 2, 1]);
  const device = await sharedDevice();
  const shape = ["layers=[1,1,2,1]", "width=1", "partDim=8", ...SIZE];
  for (const [settings, fresh] of [
    [["parts=3"], /^parts\./],
    [["model=ide"], /^classifier\./],
  ] as const) {
    const config = modelConfigOf(loadConfig({ set: [...shape, ...settings] }), 3);
    const store = new ParameterStore();
    trainingStep(store, config, input("images", [6, 48, 16, 3]));
    store.allocate(device, 0);
    const { loaded, missing } = initialise(device, store, checkpoint, [1, 2, 3]);
    assert.ok(missing.length > 0 && missing.every((n) => fresh.test(n)), missing.join());
    assert.is(loaded.includes("embedding.weight"), config.model === "ide");
  }
});

for (const name of ["official.pth", "official-legacy.pth"]) {
  test(`${name}: the network is told from shapes, and every tensor arrives`, async () => {
    const foreign = await readForeign(file(name), { set: SIZE });
    const { config, identities, weights, skipped } = foreign;
    assert.equal([config.layers, config.width, config.parts, config.partDim], [[1, 1, 1, 1], 1, 3, 8]);
    assert.equal([config.preset, config.channelAttention, config.prior, identities], ["official", false, "uniform", 5]);
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
    /parts\.1\.bn1\.bias is \[1\], the network's is \[8\]/,
  );
  const twice = await changed("twice.pth", (t) => t.set("module.base.1.bias", one()));
  await refused(readForeign(twice, { set: SIZE }), /two of its tensors are backbone\.bn1\.bias/);
  const attentions = await changed("attentions.pth", (t) =>
    t.set("main.0.channel_attn.conv1.conv.weight", one()).set("aux.0.channel_attn.conv1.conv.weight", one()),
  );
  await refused(readForeign(attentions, { set: SIZE }), /two of its tensors are parts\.0\.attention\.conv1\.weight/);
  const infinite = await changed("nan.pth", (t) =>
    t.set("base.1.bias", { ...one(), data: Float32Array.of(NaN) } as StoredTensor),
  );
  await refused(readForeign(infinite, { set: SIZE }), /base\.1\.bias \(F32\) has no finite numbers/);
  const basic = await changed("basic.pth", (t) => t.delete("base.4.0.conv3.weight"));
  await refused(readForeign(basic, { set: SIZE }), /basic blocks/);
});

test.after(closeDevice);

test.run();
