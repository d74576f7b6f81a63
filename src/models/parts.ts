/** What models with parts share: layers of all parts side by side, their classifiers and the loss of eq. 1. */
import type { Tensor } from "../graph/tensor.js";
import { constantValues, normal } from "../nn/init.js";
import type { Build, PartsInit } from "../nn/layers.js";
import { add, reshape, slice, softmaxCrossEntropy, weightedSum } from "../ops/index.js";
import type { Classifier, Losses } from "./model.js";

/** `parts.0.conv`, `parts.1.conv`, ... */
export const partNames = (count: number, layer: string): string[] =>
  Array.from({ length: count }, (_, k) => `parts.${k}.${layer}`);

/**
 * Each part's own 1x1 convolution, batch norm and ReLU, of its own pooled vector: one product of `parts` groups.
 * @param pooled [N, parts, C]
 * @returns [N, parts * dim]
 */
export function reduceParts(b: Build, pooled: Tensor, dim: number, init?: PartsInit): Tensor {
  const [n, parts, channels] = pooled.shape;
  const x = reshape(pooled, [n, 1, 1, parts * channels]);
  const reduced = b.partsConv(partNames(parts, "conv"), x, dim, "channels", init);
  return reshape(b.batchNorm(partNames(parts, "bn"), reduced, { relu: true }), [n, parts * dim]);
}

/**
 * Scores of a linear classifier for each part's share of the features.
 * @param names one for each part
 * @param features [N, parts * dim]
 * @returns [N, parts * identities], part after part
 */
export function classify(b: Build, names: readonly string[], features: Tensor, identities: number): Tensor {
  const [n, width] = features.shape;
  const init = { weight: normal(0.001), bias: constantValues(0), linear: true };
  const scores = b.partsConv(names, reshape(features, [n, 1, 1, width]), identities, "channels", init);
  return reshape(scores, [n, names.length * identities]);
}

/**
 * Cross entropy of the parts' classifiers (eq. 1), the mean over images and parts.
 * @param scores [N, parts * identities]
 * @param partLabels [N * parts]
 */
export function identityLoss(scores: Tensor, partLabels: Tensor): Tensor {
  const rows = partLabels.shape[0];
  return softmaxCrossEntropy(reshape(scores, [1, rows, scores.size / rows]), partLabels);
}

/** The sum of a classification loss and of triplet losses, if there are any. */
export function sumOfLosses(id: Tensor, triplets: readonly Tensor[]): Losses {
  if (triplets.length === 0) return { id, total: id };
  const triplet = weightedSum(
    triplets,
    triplets.map(() => 1),
  );
  return { id, triplet, total: add(id, triplet) };
}

/** A classifier for each part, of its share of the scores. @param parts title and map of each */
export function partClassifiers(scores: Tensor, parts: readonly Omit<Classifier, "scores">[]): Classifier[] {
  const identities = scores.shape[1] / parts.length;
  return parts.map((part, k) => ({ ...part, scores: slice(scores, 1, k * identities, (k + 1) * identities) }));
}
