/**
 * PCB (Sun et al., ECCV 2018), the uniform division that MPN's ATs descend from: F is average pooled over `parts`
 * horizontal stripes, and each stripe has a reduction to `partDim` channels and a classifier of its own. The reductions
 * are independent, as in the reimplementation that MPN's code grew from; one shared by all stripes would have 2.6M
 * parameters less at the paper's size. Without refined part pooling.
 */
import type { Tensor } from "../graph/tensor.js";
import type { Build } from "../nn/layers.js";
import { resnet } from "../nn/resnet.js";
import { mean, reshape, scale } from "../ops/index.js";
import type { ModelConfig } from "./config.js";
import type { ReidModel } from "./model.js";
import { classify, identityLoss, partClassifiers, partNames, reduceParts, sumOfLosses } from "./parts.js";

const featureMap = (b: Build, c: ModelConfig, images: Tensor) => resnet(b, "backbone", images, c);

/** [N, h, w, C] -> [N, parts * partDim] */
function partFeatures(b: Build, c: ModelConfig, map: Tensor): Tensor {
  const [n, rows, columns, channels] = map.shape;
  const pooled = mean(reshape(map, [n, c.parts, (rows / c.parts) * columns, channels]), [2]);
  return reduceParts(b, pooled, c.partDim);
}

function scoresOf(b: Build, c: ModelConfig, features: Tensor): Tensor {
  return classify(b, partNames(c.parts, "classifier"), features, c.identities);
}

export const pcb: ReidModel = {
  title: "PCB",
  classifiersPerImage: (c) => c.parts,
  usesPrior: () => false,
  represent: (b, c, images) => partFeatures(b, c, featureMap(b, c, images)),
  losses(b, c, { images, partLabels }) {
    const main = partFeatures(b, c, featureMap(b, c, images));
    // Each stripe's cross entropy is a mean over images; they are summed.
    const id = scale(identityLoss(scoresOf(b, c, main), partLabels), c.parts);
    return { losses: sumOfLosses(id, []), features: { main } };
  },
  classifiers(b, c, images) {
    const map = featureMap(b, c, images);
    const stripes = Array.from({ length: c.parts }, (_, k) => ({ name: `stripe ${k + 1}`, map }));
    return partClassifiers(scoresOf(b, c, partFeatures(b, c, map)), stripes);
  },
};
