/** Exported models, read back and run in float64 (support/onnx-run.ts), give what the engine gives. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Emitter } from "#src/export/emitter.js";
import { onnxModel } from "#src/export/onnx.js";
import { emitNode } from "#src/export/onnx-ops.js";
import { encodeOnnx } from "#src/formats/onnx.js";
import { fuse } from "#src/graph/passes.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { normalizeRows } from "#src/ops/index.js";
import { type ReadModel, readOnnx } from "../support/onnx-reader.js";
import { runOnnx } from "../support/onnx-run.js";
import { closeDevice, draw, relativeError, sharedDevice, size } from "../support/op.js";

const IMAGES = 2;
const [HEIGHT, WIDTH] = [96, 32];
const TINY = { layers: [1, 1, 1, 1], width: 2, imageSize: [HEIGHT, WIDTH], partDim: 8, parts: 3 };

const MODELS: Record<string, object> = {
  MPN: { layers: [2, 1, 1, 1] },
  "MPN without channel attention": { channelAttention: false },
  "the Baseline": { tasks: "aux" },
  "MPN*": { spatialAttention: true },
  IDE: { model: "ide", parts: 6 },
  PCB: { model: "pcb" },
  MGN: { model: "mgn" },
  Pyramid: { model: "pyramid" },
  "DSA-reID": { model: "dsa", parts: 6, partDim: 512 },
};

/** Weights, and statistics far from those that a batch norm starts with. */
function randomWeights(store: ParameterStore): Map<string, NamedArray> {
  return new Map(
    store.names.map(({ name, shape }, i) => {
      const values = draw(size(shape), "uniform", 100 + i);
      const positive = /running_var$|(bn\d?|downsample\.1|[14])\.weight$/.test(name) && shape.length === 1;
      const fanIn = shape.length > 1 ? size(shape.slice(1)) : 4;
      // A position's relations are large, and a gate that they saturate shows nothing of the image.
      const gain = /attention\d/.test(name) ? 0.5 : 6;
      const scaled = values.map((v) => (positive ? 1 + 0.5 * v : v * Math.sqrt(gain / fanIn)));
      return [name, { shape, data: Float32Array.from(scaled) }];
    }),
  );
}

function declared(settings: object): { config: ModelConfig; store: ParameterStore } {
  const config = parseModelConfig({ ...TINY, ...settings });
  const store = new ParameterStore();
  modelOf(config).represent(new Build(store, false), config, input("images", [1, HEIGHT, WIDTH, 3]));
  return { config, store };
}

/** The file of an exported model, decoded. */
function exported(...given: Parameters<typeof onnxModel>): ReadModel {
  const { pieces, length } = encodeOnnx(onnxModel(...given));
  const file = Buffer.concat(pieces);
  assert.is(file.length, length);
  return readOnnx(file);
}

const PIXELS = draw(IMAGES * 3 * HEIGHT * WIDTH, "uniform", 7).map((v) => 4 * v);

/** Pixels [N, 3, H, W] as the engine takes them. */
function nhwc(pixels: Float64Array, mirrored = false): Float32Array {
  return Float32Array.from(pixels, (_, i) => {
    const [channel, column, row] = [i % 3, Math.floor(i / 3) % WIDTH, Math.floor(i / (3 * WIDTH)) % HEIGHT];
    const image = Math.floor(i / (3 * WIDTH * HEIGHT));
    return pixels[((image * 3 + channel) * HEIGHT + row) * WIDTH + (mirrored ? WIDTH - 1 - column : column)];
  });
}

function runExported(model: ReadModel, images = IMAGES): Float64Array {
  const data = PIXELS.slice(0, (PIXELS.length / IMAGES) * images);
  const features = runOnnx(model, { images: { shape: [images, 3, HEIGHT, WIDTH], data } }).get("features")!;
  assert.is(features.shape.length, 2);
  assert.equal([images, model.outputs[0].shape[1]], features.shape);
  return features.data;
}

async function runEngine(config: ModelConfig, weights: ReadonlyMap<string, NamedArray>, mirrored: boolean[]) {
  const device = await sharedDevice();
  const store = new ParameterStore();
  const images = input("images", [IMAGES, HEIGHT, WIDTH, 3]);
  const [features] = fuse([modelOf(config).represent(new Build(store, false), config, images)]);
  store.allocate(device, 0);
  store.load(device, weights, "the test's weights");
  const program = await Program.compile(device, { outputs: { features } });
  const results: Float32Array[] = [];
  for (const mirror of mirrored) {
    const run = await program.run({ images: nhwc(PIXELS, mirror) }, ["features"]);
    results.push(Float32Array.from(run.features));
  }
  program.destroy();
  store.destroy(device);
  return results;
}

for (const [title, settings] of Object.entries(MODELS)) {
  test(`${title}: the exported model gives the engine's features`, async () => {
    const { config, store } = declared(settings);
    const weights = randomWeights(store);
    const [plain, mirrored] = await runEngine(config, weights, [false, true]);
    const average = Float64Array.from(plain, (v, i) => (v + mirrored[i]) / 2);
    const spread = relativeError(mirrored, plain);
    assert.ok(spread > 0.05, `an image and its mirror image differ by only ${spread}`);

    const any = exported(config, weights);
    assert.equal([any.irVersion, any.opset], [8, 17]);
    assert.equal(any.inputs, [{ name: "images", shape: ["N", 3, HEIGHT, WIDTH] }]);
    assert.equal(any.outputs, [{ name: "features", shape: ["N", plain.length / IMAGES] }]);
    const error = relativeError(runExported(any), plain);
    assert.ok(error < 1e-5, `any batch: off by ${error}`);
    const one = relativeError(runExported(any, 1), plain.subarray(0, plain.length / IMAGES));
    assert.ok(one < 1e-5, `one image: off by ${one}`);

    const flipped = exported(config, weights, { batch: IMAGES, flip: true });
    assert.equal(flipped.inputs[0].shape, [IMAGES, 3, HEIGHT, WIDTH]);
    const flipError = relativeError(runExported(flipped), average);
    assert.ok(flipError < 1e-5, `flipped: off by ${flipError}`);
  });
}

test("batch norm is part of the convolutions, and nothing is made that nobody reads", () => {
  const { config, store } = declared({});
  const model = exported(config, randomWeights(store));
  const counts: Record<string, number> = {};
  for (const { op } of model.nodes) counts[op] = (counts[op] ?? 0) + 1;
  // Stem, four blocks of three and a downsampling each, both convolutions of the parts and of their attention.
  assert.is(counts.Conv, 1 + 4 * 4 + 4);
  assert.is(counts.Add, 4, "residual sums alone");
  assert.is(counts.Mul, 1, "the attention alone");
  assert.not.ok(counts.Transpose, "no map changes its layout");
  const read = new Set([...model.nodes.flatMap((n) => n.inputs), "features"]);
  const made = [...model.nodes.flatMap((n) => n.outputs), ...model.tensors.keys()];
  assert.equal(
    made.filter((name) => !read.has(name)),
    [],
  );
  assert.is(new Set(made).size, made.length);
});

test("the metadata says what images must be", () => {
  const { config, store } = declared({ model: "pcb" });
  const { metadata } = exported(config, randomWeights(store), { flip: true, interpolation: "bicubic" });
  assert.equal(JSON.parse(metadata.mean), [0.485, 0.456, 0.406]);
  assert.equal(JSON.parse(metadata.std), [0.229, 0.224, 0.225]);
  assert.equal(JSON.parse(metadata.imageSize), [HEIGHT, WIDTH]);
  assert.equal([metadata.channels, metadata.interpolation, metadata.flip], ["RGB", "bicubic", "true"]);
  assert.equal(parseModelConfig(JSON.parse(metadata.config)), config);
});

test("weights that are missing, or of another shape, are named", () => {
  const { config, store } = declared({});
  const weights = randomWeights(store);
  const bias = weights.get("parts.1.bn1.bias")!;
  weights.delete("parts.1.bn1.bias");
  assert.throws(
    () => onnxModel(config, weights, { source: "a.safetensors" }),
    /a\.safetensors lacks parts\.1\.bn1\.bias/,
  );
  weights.set("parts.1.bn1.bias", { ...bias, shape: [4, 2] });
  assert.throws(() => onnxModel(config, weights), /parts\.1\.bn1\.bias is \[4, 2\]/);
});

test("what has no values is named", () => {
  const [images, to] = [input("x", [2, 2, 1, 1]), new Emitter(new Map(), 2, false, [])];
  for (const layout of ["rows", "map"] as const)
    assert.throws(() => to.in(layout, images), /x\[2, 2, 1, 1\] has no values/);
});

test("an operation without a counterpart is named", () => {
  const rows = normalizeRows(input("x", [2, 8]));
  const to = new Emitter(new Map(), 2, false, []);
  const operation = rows.node!.inputs.map((t) => t.node!).find((node) => node?.op.name === "activation")!;
  assert.throws(() => emitNode(operation, to), /inverse_norm cannot be exported to ONNX/);
  const other = { ...operation, op: { ...operation.op, name: "somethingNew" } };
  assert.throws(() => emitNode(other, to), /somethingNew cannot be exported to ONNX/);
});

test.after(closeDevice);
test.run();
