/**
 * The network that DSA-reID (Zhang et al., CVPR 2019) keeps at test time. Its structure is INFERRED: neither code nor a
 * complete description is public. ResNet with the last stage's stride removed and that stage doubled into a global and a
 * local branch has the 38.5M parameters that Table 8 states, and leaves no room for reductions; how the branches are
 * pooled cannot be told from a count, and is taken to be the average, which costs nothing either way. The network that
 * it is trained with (187.8M parameters, 24 densely aligned part images) is unpublished, so that it can be measured, but
 * not trained.
 */

import { UserError } from "../errors.js";
import type { Tensor } from "../graph/tensor.js";
import { stage, stem } from "../nn/resnet.js";
import { concat, globalAveragePool } from "../ops/index.js";
import type { ReidModel } from "./model.js";

/** @throws UserError always: there is nothing to train */
export const untrainable = (): never => {
  throw new UserError(
    "dsa is DSA-reID's network at test time; the one that it is trained with is unpublished, so it has neither losses nor " +
      "classifiers and cannot be trained. It can be measured: mpn bench model --model dsa --mode infer.",
    { exitCode: 2 },
  );
};

export const dsa: ReidModel = {
  title: "DSA-reID (test time)",
  classifiersPerImage: untrainable,
  usesPrior: () => false,
  represent(b, c, images): Tensor {
    let trunk = stem(b, "backbone", images, c);
    for (const i of [0, 1, 2]) trunk = stage(b, "backbone", trunk, i, c);
    const branches = ["backbone", "local"].map((name) => globalAveragePool(stage(b, name, trunk, 3, c)));
    return concat(branches, 1);
  },
  losses: untrainable,
  classifiers: untrainable,
};
