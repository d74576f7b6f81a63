/** Means over the rows of each class, in any order of labels, and the loss made of them (shaders/class_*.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { mul } from "./arithmetic.js";
import { expectLabels, expectRank } from "./check.js";
import { cosineDistance } from "./cosine.js";
import { elemOf, flat } from "./lanes.js";
import { sum } from "./reduce.js";

const classMeansOp: Op<null> = {
  name: "classMeans",
  outputs([h, labels]) {
    expectRank(h, 2, "rows of features [N, D]");
    expectLabels(labels, h.shape[0]);
    return [{ shape: h.shape }];
  },
  // A row weighs the rows of its class equally, so that the map's matrix is symmetric and its own transpose.
  gradient: (node, [dy]) => [dy && apply(classMeansOp, [dy, node.inputs[1]], null)[0], null],
  lower({ inputs: [x, labels], outputs: [y] }, to) {
    const [rows, width] = x.shape;
    const elem = elemOf(width);
    to.dispatch({
      kernel: { shader: "class_means", defines: { ELEM: elem } },
      bindings: { x, labels, y },
      params: { rows, dim: width / elem },
      workgroups: flat(x.size / elem),
      bytes: x.bytes + y.bytes,
    });
  },
};

const classWeightsOp: Op<null> = {
  name: "classWeights",
  outputs([labels]) {
    expectLabels(labels, labels.size);
    return [{ shape: labels.shape }];
  },
  lower({ inputs: [labels], outputs: [weights] }, to) {
    const rows = labels.size;
    const counts = to.scratch("counts", [rows, 2]);
    to.dispatch({
      kernel: { shader: "class_counts" },
      bindings: { labels, counts },
      params: { rows },
      workgroups: flat(rows),
    });
    to.dispatch({
      kernel: { shader: "class_weights" },
      bindings: { counts, weights },
      params: { rows },
      workgroups: flat(rows),
    });
  },
};

/**
 * For each row the mean of all rows with its label (eq. 6 and 7).
 * @param h [N, D]
 * @param labels i32 [N], any values in any order
 * @returns [N, D]; rows of one class are equal
 */
export function classMeans(h: Tensor, labels: Tensor): Tensor {
  return apply(classMeansOp, [h, labels], null)[0];
}

/**
 * Weights that turn a sum over rows into a mean over classes: 1 / (rows of the row's class * number of classes).
 * @param labels i32 [N]
 * @returns [N]; no gradient
 */
export function classWeights(labels: Tensor): Tensor {
  return apply(classWeightsOp, [labels], null)[0];
}

/**
 * Class-wise alignment of two feature spaces (eq. 8): mean over the batch's classes of the cosine distance between the
 * class's mean in h and its mean in g. Gradients go to both.
 * @param h [N, D], features of the main tasks
 * @param g [N, D], features of the auxiliary tasks
 * @param labels i32 [N]
 * @returns [1]
 */
export function classAlignment(h: Tensor, g: Tensor, labels: Tensor): Tensor {
  return sum(mul(cosineDistance(classMeans(h, labels), classMeans(g, labels)), classWeights(labels)));
}
