/** The whole training step as one graph: forward, losses, backward, SGD (eq. 10, Sec. 5.1). */
import { input, type Tensor } from "../graph/tensor.js";
import { featureSize, type ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import type { TrainingOutputs } from "../models/model.js";
import { Build } from "../nn/layers.js";
import type { ParameterStore } from "../nn/parameters.js";
import { gradients, pack, sgd } from "../ops/index.js";

export interface TrainingStep extends TrainingOutputs {
  /** Gradient of every parameter, in the store's order, without weight decay. */
  readonly gradients: readonly Tensor[];
  /** Running statistics and parameters after the step. */
  readonly updates: readonly Tensor[];
}

/**
 * Builds the step. Fed at every run: `mask` [N, h, w], `roi` [N, 4], `labels` [N], `partLabels` [N * classifiers],
 * `dropoutSeed` [1] and `hyper` [learning rate, momentum, weight decay, Nesterov], as far as the model takes them, beside
 * what `images` is made from.
 * @param images [N, H, W, 3], normalised
 * @param lrBackbone factor of the backbone's learning rate
 */
export function trainingStep(store: ParameterStore, config: ModelConfig, images: Tensor, lrBackbone = 1): TrainingStep {
  const n = images.shape[0];
  const [rows, columns] = featureSize(config.imageSize);
  const build = new Build(store, true);
  const model = modelOf(config);
  const { losses, features } = model.losses(build, config, {
    images,
    mask: input("mask", [n, rows, columns]),
    roi: input("roi", [n, 4]),
    labels: input("labels", [n], "i32"),
    partLabels: input("partLabels", [n * model.classifiersPerImage(config)], "i32"),
    dropoutSeed: input("dropoutSeed", [1], "u32"),
  });
  const trained = store.trained;
  const grads = gradients(
    losses.total,
    trained.map((p) => p.tensor),
  ).map((g, i) => {
    if (!g) throw new Error(`the loss does not depend on ${trained[i].names[0]}`);
    return g;
  });
  const { weights, momenta } = store.flat;
  const packed = pack(
    grads,
    trained.map((p) => p.byteOffset),
    weights.size,
  );
  const ranges = trained.map(({ names }, i) => ({
    end: trained[i + 1]?.byteOffset / 4 || weights.size,
    factor: BACKBONE.test(names[0]) ? lrBackbone : 1,
  }));
  // Neighbours that learn alike are one range.
  const merged = ranges.filter(({ factor }, i) => factor !== ranges[i + 1]?.factor);
  const step = sgd(weights, momenta, packed, input("hyper", [4]), merged);
  return { losses, features, gradients: grads, updates: [...build.updates, ...step] };
}

/** What a backbone that is trained already brings; MGN's branches start as copies of it. */
const BACKBONE = /^(backbone|branches)\./;

/** Each label once for every classifier, as the classifiers' rows run. */
export function partLabels(labels: Int32Array, config: ModelConfig): Int32Array {
  const times = modelOf(config).classifiersPerImage(config);
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[Math.floor(i / times)]);
}
