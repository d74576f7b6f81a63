/**
 * Pyramid (Zheng et al., CVPR 2019): F in `parts` basic stripes, and every run of adjacent stripes is a branch, from the
 * single ones to the whole map; 21 for six stripes. A branch pools its run by average and by maximum, adds both, and has
 * a reduction and a classifier of its own. All branches run side by side.
 *
 * The losses are those of the paper's static form: the classifiers' cross entropies and a batch-hard triplet loss on the
 * concatenated feature; the dynamic weighting of the two, which also changes the sampler, is left out. The authors'
 * released code sums a triplet loss over the branches instead.
 */
import type { Tensor } from "../graph/tensor.js";
import type { Build } from "../nn/layers.js";
import { resnet } from "../nn/resnet.js";
import { batchHardTriplet, dropout, pyramidPool, scale } from "../ops/index.js";
import type { ModelConfig } from "./config.js";
import type { ReidModel } from "./model.js";
import { classify, identityLoss, partClassifiers, partNames, reduceParts, sumOfLosses } from "./parts.js";

const DROPOUT = 0.2;

const branchesOf = (c: ModelConfig) => (c.parts * (c.parts + 1)) / 2;
const featureMap = (b: Build, c: ModelConfig, images: Tensor) => resnet(b, "backbone", images, c);

/** [N, h, w, C] -> [N, branches * partDim] */
const branchFeatures = (b: Build, c: ModelConfig, map: Tensor) => reduceParts(b, pyramidPool(map, c.parts), c.partDim);

function scoresOf(b: Build, c: ModelConfig, features: Tensor): Tensor {
  return classify(b, partNames(branchesOf(c), "classifier"), features, c.identities);
}

export const pyramid: ReidModel = {
  title: "Pyramid",
  classifiersPerImage: branchesOf,
  usesPrior: () => false,
  represent: (b, c, images) => branchFeatures(b, c, featureMap(b, c, images)),
  losses(b, c, { images, labels, partLabels, dropoutSeed }) {
    const main = branchFeatures(b, c, featureMap(b, c, images));
    const seen = dropout(main, DROPOUT, dropoutSeed);
    const id = scale(identityLoss(scoresOf(b, c, seen), partLabels), branchesOf(c));
    const options = { distance: "euclidean", average: "all" } as const;
    const triplets = c.triplet ? [batchHardTriplet(main, labels, c.margin, options)] : [];
    return { losses: sumOfLosses(id, triplets), features: { main } };
  },
  classifiers(b, c, images) {
    const map = featureMap(b, c, images);
    const branches: { name: string; map: Tensor }[] = [];
    for (let length = 1; length <= c.parts; length++) {
      for (let first = 1; first + length - 1 <= c.parts; first++) {
        const name = length === 1 ? `stripe ${first}` : `stripes ${first} to ${first + length - 1}`;
        branches.push({ name, map });
      }
    }
    return partClassifiers(scoresOf(b, c, branchFeatures(b, c, map)), branches);
  },
};
