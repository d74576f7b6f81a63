/**
 * IDE: one classifier over a global feature; trained first, its backbone is what MPN starts from (Sec. 5.1). ResNet with
 * the last stage's stride removed, global average pooling, Linear, batch norm, LeakyReLU(0.1), dropout, classifier, with
 * the initial values of the code that the authors published (models/base.py). At test time the image is represented by what the classifier sees, `partDim`
 * values, as the public baselines with this head do.
 */
import type { Tensor } from "../graph/tensor.js";
import { constantValues, heFanOut, normal } from "../nn/init.js";
import type { Build } from "../nn/layers.js";
import { resnet } from "../nn/resnet.js";
import { dropout, globalAveragePool, leakyRelu, reshape } from "../ops/index.js";
import type { ModelConfig } from "./config.js";
import type { ReidModel } from "./model.js";
import { classify, identityLoss, sumOfLosses } from "./parts.js";

const SLOPE = 0.1;
const DROPOUT = 0.5;

/** [N, h, w, C] -> [N, partDim] */
function embed(b: Build, c: ModelConfig, map: Tensor): Tensor {
  const pooled = globalAveragePool(map);
  const [n, channels] = pooled.shape;
  const init = { weight: heFanOut, bias: constantValues(0), linear: true };
  const x = b.partsConv(["embedding"], reshape(pooled, [n, 1, 1, channels]), c.partDim, "all", init);
  return reshape(leakyRelu(b.batchNorm("bn", x, { gamma: normal(0.02, 1) }), SLOPE), [n, c.partDim]);
}

const featureMap = (b: Build, c: ModelConfig, images: Tensor) => resnet(b, "backbone", images, c);
const scoresOf = (b: Build, c: ModelConfig, features: Tensor) => classify(b, ["classifier"], features, c.identities);

export const ide: ReidModel = {
  title: "IDE",
  classifiersPerImage: () => 1,
  usesPrior: () => false,
  represent: (b, c, images) => embed(b, c, featureMap(b, c, images)),
  losses(b, c, { images, partLabels, dropoutSeed }) {
    const main = embed(b, c, featureMap(b, c, images));
    const id = identityLoss(scoresOf(b, c, dropout(main, DROPOUT, dropoutSeed)), partLabels);
    return { losses: sumOfLosses(id, []), features: { main } };
  },
  classifiers(b, c, images) {
    const map = featureMap(b, c, images);
    return [{ name: "global", map, scores: scoresOf(b, c, embed(b, c, map)) }];
  },
};
