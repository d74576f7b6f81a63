import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { featureSize, parseModelConfig } from "#src/models/config.js";
import { configDigest, digestDifferences, epochLength, modelConfigOf, parseTrainConfig } from "#src/training/config.js";
import { loadConfig, presetModel } from "#src/training/load-config.js";

const folder = mkdtempSync(join(tmpdir(), "mpn-config-"));
test.after(() => rmSync(folder, { recursive: true }));

function yaml(text: string): string {
  const file = join(folder, "settings.yaml");
  writeFileSync(file, text);
  return file;
}

function refused(run: () => unknown, ...patterns: RegExp[]): void {
  try {
    run();
  } catch (error) {
    assert.instance(error, UserError);
    for (const pattern of patterns) assert.match((error as UserError).message, pattern);
    return;
  }
  assert.unreachable("nothing was refused");
}

test("the defaults are the paper's", () => {
  const config = loadConfig();
  assert.is(config.preset, "paper");
  assert.equal(config.layers, [3, 4, 6, 3]);
  assert.equal(config.imageSize, [384, 128]);
  assert.equal(
    [config.parts, config.partDim, config.subjects, config.imagesPerSubject, config.epochs, config.lr, config.lrStep],
    [6, 512, 6, 8, 70, 0.01, 20],
  );
  assert.equal([config.momentum, config.weightDecay, config.margin, config.alignmentWeight], [0.9, 5e-4, 0.2, 1]);
});

test("a later source wins: defaults, preset, file, --set", () => {
  const file = yaml("preset: small\nlr: 0.05\nwidth: 24\nerasingArea: [0.1, 0.2]\n");
  const config = loadConfig({ file, set: ["lr=0.02", "imageSize=[192, 64]", "tasks=main", "workers=null"] });
  assert.is(config.preset, "small");
  assert.equal(config.layers, [1, 1, 1, 1]);
  assert.is(config.width, 24);
  assert.is(config.lr, 0.02);
  assert.equal(config.imageSize, [192, 64]);
  assert.equal(config.erasingArea, [0.1, 0.2]);
  assert.is(config.workers, null);
  assert.is(loadConfig({ file, preset: "paper" }).partDim, 512, "--preset wins over the file's preset");
  assert.equal(loadConfig({ file: yaml("# nothing set\n") }), loadConfig());
});

test("unknown keys are refused with the nearest known one", () => {
  refused(() => loadConfig({ set: ["weight_decay=0.1"] }), /--set: unknown key "weight_decay"/, /"weightDecay"/);
  const file = yaml("imagesPerSubjct: 4\nepoch: 3\n");
  refused(() => loadConfig({ file }), /settings\.yaml: .*"imagesPerSubject"/, /"epochs"/);
});

test("a wrong value names the key, the value and what is expected", () => {
  refused(() => loadConfig({ set: ["lr=fast"] }), /lr is "fast"; expected a number/);
  refused(() => loadConfig({ set: ["lr=.inf"] }), /lr is Infinity; expected a finite number/);
  refused(() => loadConfig({ set: ["lossScale=3"] }), /lossScale is 3; expected a power of two/);
  refused(() => loadConfig({ set: ["lossScale=slow"] }), /lossScale is "slow"; expected "dynamic" or a power of two/);
  refused(() => loadConfig({ set: ["erasingArea=[0.5,0.4]"] }), /erasingArea is .*; expected the smaller number first/);
  refused(() => loadConfig({ set: ["erasingArea=[0.5,2]"] }), /erasingArea is .*, item 2; expected at most 1/);
  refused(() => loadConfig({ set: ["workers=0"] }), /workers is 0; expected at least 1/);
  refused(() => loadConfig({ set: ["parsing=7"] }), /parsing is 7; expected a text/);
  // Every wrong setting is told, and every unknown one.
  refused(
    () => loadConfig({ set: ["lr=0", "epoch=3", "wdith=4", "flip=2"] }),
    /"epochs".*"width".*lr is 0.*flip is 2/s,
  );
  refused(() => loadConfig({ set: ["epochs=1.5"] }), /epochs is 1.5; expected a whole number/);
  refused(() => loadConfig({ set: ["epochs=0"] }), /epochs is 0; expected at least 1/);
  refused(() => loadConfig({ set: ["lr=0"] }), /lr is 0; expected more than 0/);
  refused(() => loadConfig({ set: ["flip=1.5"] }), /flip is 1.5; expected at most 1/);
  refused(() => loadConfig({ set: ["tasks=both"] }), /tasks is "both"; expected one of "main\+aux", "main", "aux"/);
  refused(() => loadConfig({ set: ["nesterov=1"] }), /nesterov is 1; expected true or false/);
  refused(() => loadConfig({ set: ["imageSize=96"] }), /imageSize is 96; expected a list/);
  refused(() => loadConfig({ set: ["imageSize=[96]"] }), /imageSize is \[96\].*; expected a list of 2 items/);
  refused(() => loadConfig({ set: ["layers=[1,1,1,1,1]"] }), /layers is .*; expected a list of 4 items/);
  refused(() => loadConfig({ set: ["imageSize=[96, wide]"] }), /imageSize is \[96,"wide"\], item 2; expected a number/);
  refused(() => loadConfig({ set: ["erasingArea=[0.4, 0.1]"] }), /erasingArea .*smaller number first/);
});

test("bad sources are refused", () => {
  refused(() => loadConfig({ file: join(folder, "none.yaml") }), /cannot read .*none\.yaml: there is no such file/);
  refused(() => loadConfig({ file: yaml("lr: [1\n") }), /settings\.yaml is not valid YAML/);
  refused(() => loadConfig({ file: yaml("just words\n") }), /settings\.yaml must be a set of keys and values/);
  refused(
    () => loadConfig({ file: yaml("preset: tiny\n") }),
    /settings\.yaml: there is no preset "tiny"; use paper, small, official/,
  );
  refused(() => loadConfig({ preset: "constructor" }), /--preset: there is no preset "constructor"/);
  refused(() => loadConfig({ set: ["lr"] }), /--set lr: expected key=value/);
  refused(() => loadConfig({ set: ["preset=small"] }), /--preset/);
});

test("settings that do not go together are refused with advice", () => {
  refused(() => loadConfig({ set: ["parts=5"] }), /parts 5 does not divide the 24 rows/, /1, 2, 3, 4, 6, 8, 12, 24/);
  assert.is(loadConfig({ set: ["parts=5", "tasks=main"] }).parts, 5, "main tasks alone cut no stripes");
  refused(() => loadConfig({ set: ["softShare=conv2"] }), /set shareConv2 to false/);
  assert.is(loadConfig({ set: ["softShare=conv2", "shareConv2=false"] }).softShare, "conv2");
  refused(() => loadConfig({ set: ["softShare=conv1", "shareConv1=false", "tasks=main"] }), /tasks is "main"/);
  refused(() => loadConfig({ set: ["partDim=2"] }), /attentionReduction 4 leaves no channel/);
  refused(
    () => loadConfig({ set: ["imagesPerSubject=1"] }),
    /imagesPerSubject is 1; the triplet loss needs at least 2/,
  );
});

test("a model brings its own defaults, and a preset only what concerns it", () => {
  const pick = (model: string, preset?: string) => {
    const { partDim, parts, triplet, margin, lr, lrBackbone } = loadConfig({ model, preset });
    return [partDim, parts, triplet, margin, lr, lrBackbone];
  };
  assert.equal(pick("ide"), [512, 6, false, 0.2, 0.05, 0.1]);
  assert.equal(pick("pcb"), [256, 6, false, 0.2, 0.01, 1]);
  assert.equal(pick("mgn"), [256, 3, true, 1.2, 0.01, 1]);
  assert.equal(pick("pyramid"), [128, 6, true, 1.4, 0.01, 1]);
  assert.equal(pick("ide", "small"), [64, 6, false, 0.2, 0.02, 1]);
  assert.equal(loadConfig({ set: ["model=mgn"] }), loadConfig({ model: "mgn" }));
  assert.is(loadConfig({ model: "mgn", set: ["margin=0.5"] }).margin, 0.5);
  assert.equal(parseTrainConfig(loadConfig({ model: "pcb" })), loadConfig({ model: "pcb" }));
  assert.is(presetModel("small", { model: "dsa" }).width, 12);
  assert.is(presetModel("paper", { model: "pcb", identities: 3 }).partDim, 256);
});

test("what a model has no use for is refused", () => {
  refused(() => loadConfig({ model: "pcb", set: ["tasks=main"] }), /tasks is "main", but pcb has no such setting/);
  refused(
    () => loadConfig({ model: "pcb", set: ["triplet=true"] }),
    /triplet is true, but pcb/,
    /takes .*parts, partDim/,
  );
  refused(() => loadConfig({ model: "ide", set: ["parts=3"] }), /parts is 3, but ide/);
  refused(() => loadConfig({ model: "mgn", set: ["parts=5"] }), /up to 5 stripes/, /parts to one of 1, 2, 3, 4,/);
  refused(() => loadConfig({ set: ["parts=1000000000"] }), /parts to one of .*12, 24$/);
  refused(() => loadConfig({ model: "mgn", set: ["parts=1000000000"] }), /up to 1000000000 stripes.*1, 2, 3, 4$/);
  refused(() => loadConfig({ model: "pyramid", set: ["parts=5"] }), /parts 5 does not divide the 24 rows/);
  refused(() => loadConfig({ model: "dsa" }), /cannot be trained/);
  refused(() => loadConfig({ model: "osnet" }), /model is "osnet"; expected one of "mpn", "ide"/);
  assert.is(loadConfig({ model: "ide", set: ["imagesPerSubject=1"] }).imagesPerSubject, 1, "no triplets, no pairs");
});

test("the advised image height fits the parts", () => {
  try {
    loadConfig({ set: ["imageSize=[100, 40]"] });
  } catch (error) {
    const height = Number(/imageSize to \[(\d+), 40\]/.exec((error as Error).message)?.[1]);
    assert.is(loadConfig({ set: [`imageSize=[${height}, 40]`] }).imageSize[0], height);
    refused(() => loadConfig({ model: "mgn", set: ["imageSize=[100, 40]"] }), /imageSize to \[96, 40\]/);
    assert.is(loadConfig({ model: "mgn", set: ["imageSize=[96, 40]"] }).imageSize[0], 96);
    return;
  }
  assert.unreachable();
});

test("the feature map's size rounds up at each of four halvings", () => {
  const halve = (n: number) => Math.floor((n - 1) / 2) + 1; // 3x3 with stride 2 and padding 1, and 7x7/2 with padding 3
  for (let n = 1; n < 200; n++) assert.is(featureSize([n, 1])[0], halve(halve(halve(halve(n)))));
});

test("the model's configuration is the reference's", () => {
  const model = modelConfigOf(loadConfig({ preset: "small", set: ["width=20"] }), 40);
  assert.is(model.identities, 40);
  assert.is(model.width, 20);
  assert.not("lr" in model);
  assert.equal(parseModelConfig(JSON.parse(JSON.stringify(model))), model);
  assert.is(parseModelConfig({}).identities, 751);
  refused(
    () => parseModelConfig({ partsDim: 3 }, "net.safetensors"),
    /net\.safetensors: unknown key "partsDim".*"partDim"/,
  );
});

test("an epoch has as many batches as the official code draws", () => {
  const config = loadConfig();
  assert.is(epochLength(config, 12936), 1347);
  assert.is(epochLength(config, 1), 1);
  assert.is(epochLength({ ...config, translationFolds: 1 }, 96), 1, "48 + 48 images are not more than two batches");
  assert.is(epochLength({ ...config, translationFolds: 1 }, 97), 2);
  assert.is(epochLength({ ...config, iterationsPerEpoch: 7 }, 12936), 7);
});

test("the digest covers what decides the weights and nothing else", () => {
  const config = loadConfig({ preset: "small", set: ["width=20"] });
  const digest = configDigest(config);
  assert.is(configDigest({ ...config, epochs: 99, workers: 7, evaluateEvery: 1 }), digest);
  assert.is(configDigest(parseTrainConfig(Object.fromEntries(Object.entries(config).reverse()))), digest);
  assert.equal(digestDifferences(configDigest({ ...config, width: 64, layers: [3, 4, 6, 3] }), digest), [
    "layers is [3,4,6,3], the checkpoint has [1,1,1,1]",
    "width is 64, the checkpoint has 20",
  ]);
});

test.run();
