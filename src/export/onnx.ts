/**
 * The network at test time as an ONNX model: the same symbolic graph that the engine runs, batch norm folded into the
 * convolutions, weights inside.
 */
import { readFileSync } from "node:fs";
import type { OnnxModel, OnnxNode } from "../formats/onnx.js";
import { fuse } from "../graph/passes.js";
import { input, reachable } from "../graph/tensor.js";
import type { ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import { Build } from "../nn/layers.js";
import { type NamedArray, ParameterStore } from "../nn/parameters.js";
import { PIXEL_DEVIATION, PIXEL_MEAN, type PrepareImagesOptions } from "../ops/index.js";
import { Emitter } from "./emitter.js";
import { emitNode } from "./onnx-ops.js";

export interface OnnxOptions {
  /** Images of a batch; any number by default. */
  readonly batch?: number;
  /** Average the features of an image with those of its mirror image, which the model makes itself; not by default. */
  readonly flip?: boolean;
  /** How the network expects images to be resized, for the metadata; "bilinear" by default. */
  readonly interpolation?: PrepareImagesOptions["interpolation"];
  /** Where the weights are from, for errors. */
  readonly source?: string;
}

const IMAGES = "images";
const FEATURES = "features";

/** Batch of the graph that is built for models that take any: no other size has this factor. */
const PRIME = 1009;

/**
 * @param weights by their names on disk; what the network does not have, such as classifiers, is left out
 * @returns a model from `images` [N, 3, H, W] to `features` [N, dim]
 * @throws UserError when weights are missing or of another shape, or an operation cannot be exported
 */
export function onnxModel(
  config: ModelConfig,
  weights: ReadonlyMap<string, NamedArray>,
  { batch, flip = false, interpolation = "bilinear", source = "the weights" }: OnnxOptions = {},
): OnnxModel {
  const [height, width] = config.imageSize;
  const traced = (batch ?? PRIME) * (flip ? 2 : 1);
  const store = new ParameterStore();
  const images = input(IMAGES, [traced, height, width, 3]);
  const [features] = fuse([modelOf(config).represent(new Build(store, false), config, images)]);

  const to = new Emitter(store.toEngine(weights, source), traced, batch === undefined, [IMAGES, FEATURES]);
  to.define(images, "map", flip ? withMirrored(to) : IMAGES);
  for (const node of reachable([features])) emitNode(node, to);
  const rows = to.in("rows", features);
  const last = flip ? averageOfHalves(rows, to) : rows;

  const dim = features.shape[1];
  const size = batch ?? "N";
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return {
    name: config.model,
    description:
      `${modelOf(config).title}: representations of images of people, to be compared by cosine similarity` +
      (flip ? "; each is the mean of those of the image and its mirror image" : ""),
    producer: { name: "mpn-webgpu", version },
    inputs: [
      {
        name: IMAGES,
        shape: [size, 3, height, width],
        description:
          `RGB in [0, 1], resized to ${height} x ${width} (height x width), less the mean [${PIXEL_MEAN.join(", ")}], ` +
          `divided by the standard deviation [${PIXEL_DEVIATION.join(", ")}]`,
      },
    ],
    outputs: [{ name: FEATURES, shape: [size, dim], description: "one representation an image, not normalised" }],
    nodes: renamed(to.nodes, last, FEATURES),
    constants: to.tensors,
    metadata: {
      config: JSON.stringify(config),
      imageSize: JSON.stringify(config.imageSize),
      mean: JSON.stringify(PIXEL_MEAN),
      std: JSON.stringify(PIXEL_DEVIATION),
      channels: "RGB",
      interpolation,
      flip: String(flip),
    },
  };
}

/** The images and, after them, their mirror images. */
function withMirrored(to: Emitter): string {
  const backwards = [[-1], [-(2n ** 63n)], [3], [-1]].map((values) => to.list(values));
  const mirrored = to.emit("Slice", "mirrored", [IMAGES, ...backwards]);
  return to.emit("Concat", "both", [IMAGES, ...mirrored], { axis: 0 })[0];
}

function averageOfHalves(rows: string, to: Emitter): string {
  const sum = to.emit("Add", "halves.sum", to.emit("Split", "halves", [rows], { axis: 0 }, 2));
  return to.emit("Mul", "average", [...sum, to.tensor("half", [1], Float64Array.of(0.5))])[0];
}

function renamed(nodes: readonly OnnxNode[], from: string, to: string): OnnxNode[] {
  const name = (given: string) => (given === from ? to : given);
  return nodes.map((n) => ({ ...n, inputs: n.inputs.map(name), outputs: n.outputs.map(name) }));
}
