/** The whole training step as one graph: forward, losses, backward, SGD (eq. 10, Sec. 5.1). */
import { rematerialise } from "../graph/rematerialise.js";
import { input, type Tensor } from "../graph/tensor.js";
import { featureSize, type ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import type { TrainingOutputs } from "../models/model.js";
import { Build } from "../nn/layers.js";
import type { ParameterStore } from "../nn/parameters.js";
import { gradients, type LossScaling, lossScale, mul, pack, sgd } from "../ops/index.js";
import { LossScale } from "./loss-scale.js";

export interface TrainingStep extends TrainingOutputs {
  /** Gradient of every parameter, in the store's order, without weight decay; times the loss scale, if there is one. */
  readonly gradients: readonly Tensor[];
  /** To be allocated like the store, where the loss is scaled, and its state after the step. */
  readonly lossScale?: { readonly memory: LossScale; readonly state: Tensor };
  /** Running statistics and parameters after the step. */
  readonly updates: readonly Tensor[];
}

export interface StepOptions {
  /** Factor of the backbone's learning rate. */
  readonly lrBackbone?: number;
  /** Make normalised maps again in the backward pass instead of keeping them: less memory, the same numbers. */
  readonly recompute?: boolean;
  /**
   * Gradients are made of the loss times a scale, and a step where one of them is not finite is skipped: for gradients that
   * are stored in float16 or rounded to it on their way through convolutions. They are then kept until all of them are there.
   */
  readonly lossScaling?: LossScaling;
}

/**
 * Builds the step. Fed at every run: `mask` [N, h, w], `roi` [N, 4], `labels` [N], `partLabels` [N * classifiers],
 * `dropoutSeed` [1] and `hyper` [learning rate, momentum, weight decay, Nesterov], as far as the model takes them, beside
 * what `images` is made from.
 * @param images [N, H, W, 3], normalised
 */
export function trainingStep(
  store: ParameterStore,
  config: ModelConfig,
  images: Tensor,
  options: StepOptions = {},
): TrainingStep {
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
  return { losses, features, ...minimise(build, losses.total, options) };
}

/**
 * The backward half of a step: gradients of a loss that was built in training mode, and what SGD makes of them by `hyper`.
 * @param loss [1], on which every trained parameter of the store must have an effect
 */
export function minimise(
  { store, updates }: Build,
  loss: Tensor,
  { lrBackbone = 1, recompute = true, lossScaling }: StepOptions = {},
): Pick<TrainingStep, "gradients" | "updates" | "lossScale"> {
  const trained = store.trained;
  const memory = lossScaling && new LossScale(lossScaling);
  const grads = gradients(
    memory ? mul(loss, memory.scale) : loss,
    trained.map((p) => p.tensor),
  ).map((g, i) => {
    if (!g) throw new Error(`the loss does not depend on ${trained[i].names[0]}`);
    return g;
  });
  const hyper = input("hyper", [4]);
  const groups = updateGroups(store, lrBackbone).map(({ first, end, factor }) => {
    const members = trained.slice(first, end);
    const start = members[0].byteOffset;
    const variables = store.flat(start, trained[end]?.byteOffset ?? store.trainedBytes);
    const offsets = members.map((p) => p.byteOffset - start);
    const packed = pack(grads.slice(first, end), offsets, variables.weights.size);
    const parts = members.map(({ tensor }, i) => ({ start: offsets[i] / 4, size: tensor.size }));
    return { ...variables, factor, flat: packed, parts };
  });
  const judged = memory && lossScale(memory.state, groups, memory.scaling);
  const steps = groups.flatMap(({ weights, momenta, flat, factor }) =>
    sgd(weights, momenta, flat, hyper, [{ end: weights.size, factor }], judged?.gate),
  );
  const backward = [...grads, ...updates, ...steps, ...(judged ? [judged.state] : [])];
  const lean = recompute ? rematerialise(backward, loss) : backward;
  return {
    gradients: lean.slice(0, grads.length),
    updates: lean.slice(grads.length),
    ...(memory && { lossScale: { memory, state: lean[lean.length - 1] } }),
  };
}

/** Bytes of neighbouring parameters whose gradients are collected before SGD takes them: enough for one long dispatch. */
const GROUP_BYTES = 2 ** 24;

/** Runs of trained tensors [first, end) that learn at one rate, each stepped as soon as its gradients are there. */
function updateGroups(store: ParameterStore, lrBackbone: number): { first: number; end: number; factor: number }[] {
  const groups: { first: number; end: number; factor: number; bytes: number }[] = [];
  store.trained.forEach(({ tensor, names }, i) => {
    const factor = BACKBONE.test(names[0]) ? lrBackbone : 1;
    const last = groups.at(-1);
    if (last && last.factor === factor && last.bytes + tensor.bytes <= GROUP_BYTES) {
      last.end = i + 1;
      last.bytes += tensor.bytes;
    } else groups.push({ first: i, end: i + 1, factor, bytes: tensor.bytes });
  });
  return groups;
}

/** What a backbone that is trained already brings; MGN's branches start as copies of it. */
const BACKBONE = /^(backbone|branches)\./;

/** Each label once for every classifier, as the classifiers' rows run. */
export function partLabels(labels: Int32Array, config: ModelConfig): Int32Array {
  const times = modelOf(config).classifiersPerImage(config);
  return Int32Array.from({ length: labels.length * times }, (_, i) => labels[Math.floor(i / times)]);
}
