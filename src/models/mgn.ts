/**
 * MGN (Wang et al., ACM MM 2018): from the second block of the third stage on, branch i of `parts` (three in the paper)
 * is a network of its own that looks at the whole map and, from the second branch on, at i stripes of it. The first
 * branch keeps the last stage's stride. All regions are max pooled and have a reduction and a classifier of their own;
 * the branches' whole maps come first, then the stripes. Classifiers of whole maps read the reduced features, as in the
 * public reproductions, whose parameters Table 8 counts; the count leaves classifiers out, so that it tells nothing of them.
 */
import type { Tensor } from "../graph/tensor.js";
import { heFanIn } from "../nn/init.js";
import type { Build } from "../nn/layers.js";
import { stage, stem } from "../nn/resnet.js";
import { batchHardTriplet, concat, globalMaxPool, max, reshape, scale, slice } from "../ops/index.js";
import type { ModelConfig } from "./config.js";
import type { ReidModel } from "./model.js";
import { classify, identityLoss, partClassifiers, partNames, reduceParts, sumOfLosses } from "./parts.js";

/** Whole maps and stripes: 8 for three branches. */
const regionsOf = (c: ModelConfig) => c.parts + (c.parts * (c.parts + 1)) / 2 - 1;

/** The branches' maps, the first one of half the size. */
function branchMaps(b: Build, c: ModelConfig, images: Tensor): Tensor[] {
  const [THIRD, FOURTH] = [2, 3];
  let trunk = stem(b, "backbone", images, c);
  for (const i of [0, 1]) trunk = stage(b, "backbone", trunk, i, c);
  trunk = stage(b, "backbone", trunk, THIRD, c, { end: 1 });
  return Array.from({ length: c.parts }, (_, i) => {
    const name = `branches.${i}`;
    return stage(b, name, stage(b, name, trunk, THIRD, c, { first: 1 }), FOURTH, c, { stride: i === 0 ? 2 : 1 });
  });
}

/** -> [N, regions * partDim] */
function regionFeatures(b: Build, c: ModelConfig, maps: readonly Tensor[]): Tensor {
  const wholes: Tensor[] = [];
  const stripes: Tensor[] = [];
  maps.forEach((map, i) => {
    const [n, rows, columns, channels] = map.shape;
    const count = i + 1;
    const pooled = globalMaxPool(reshape(map, [n * count, rows / count, columns, channels]));
    const ofImage = reshape(pooled, [n, count, channels]);
    // The maximum of a map is that of its stripes.
    wholes.push(i === 0 ? ofImage : max(ofImage, [1], { keepDims: true }));
    if (i > 0) stripes.push(ofImage);
  });
  return reduceParts(b, concat([...wholes, ...stripes], 1), c.partDim, { weight: heFanIn, bias: null });
}

function scoresOf(b: Build, c: ModelConfig, features: Tensor): Tensor {
  return classify(b, partNames(regionsOf(c), "classifier"), features, c.identities);
}

export const mgn: ReidModel = {
  title: "MGN",
  classifiersPerImage: regionsOf,
  usesPrior: () => false,
  represent: (b, c, images) => regionFeatures(b, c, branchMaps(b, c, images)),
  /** Sum over regions of the cross entropy, and over branches of the triplet loss of the whole map's feature. */
  losses(b, c, { images, labels, partLabels }) {
    const main = regionFeatures(b, c, branchMaps(b, c, images));
    const id = scale(identityLoss(scoresOf(b, c, main), partLabels), regionsOf(c));
    const options = { distance: "euclidean", average: "all" } as const;
    const triplets = Array.from({ length: c.triplet ? c.parts : 0 }, (_, i) =>
      batchHardTriplet(slice(main, 1, i * c.partDim, (i + 1) * c.partDim), labels, c.margin, options),
    );
    return { losses: sumOfLosses(id, triplets), features: { main } };
  },
  classifiers(b, c, images) {
    const maps = branchMaps(b, c, images);
    const wholes = maps.map((map, i) => ({ name: `branch ${i + 1}`, map }));
    const stripes = maps.slice(1).flatMap((map, i) => {
      return Array.from({ length: i + 2 }, (_, k) => ({ name: `branch ${i + 2}, stripe ${k + 1}`, map }));
    });
    return partClassifiers(scoresOf(b, c, regionFeatures(b, c, maps)), [...wholes, ...stripes]);
  },
  initialName: (name) => name.replace(/^branches\.\d+\./, "backbone."),
};
