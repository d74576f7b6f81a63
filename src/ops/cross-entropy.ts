/** Softmax cross entropy from integer labels (shaders/cross_entropy*.wgsl). */
import { grid } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectLabels } from "./check.js";
import { scale } from "./elementwise.js";
import { flat } from "./lanes.js";
import { sum } from "./reduce.js";

const crossEntropyOp: Op<null> = {
  name: "softmaxCrossEntropy",
  outputs([logits, labels]) {
    if (logits.shape.length < 2) throw new Error(`expected logits [..., rows, classes], got [${logits.shape}]`);
    expectLabels(labels, logits.shape[logits.shape.length - 2]);
    const shape = logits.shape.slice(0, -1);
    return [{ shape }, { shape }];
  },
  gradient({ inputs: [logits, labels], outputs: [, logSum] }, [dloss]) {
    return [dloss && apply(crossEntropyGradOp, [logits, labels, logSum, dloss], null)[0], null];
  },
  lower({ inputs: [x, labels], outputs: [loss, logSum] }, to) {
    const classes = x.shape[x.shape.length - 1];
    const share = to.profile.software ? 0 : 64;
    to.dispatch({
      kernel: { shader: "cross_entropy", defines: { SHARE: share } },
      bindings: { x, labels, loss, log_sum: logSum },
      params: { rows: loss.size, classes, labelCount: labels.size },
      workgroups: share > 0 ? grid(loss.size) : flat(loss.size),
      flops: 4 * x.size,
      bytes: 2 * x.bytes,
    });
  },
};

const crossEntropyGradOp: Op<null> = {
  name: "softmaxCrossEntropyGrad",
  outputs: ([logits]) => [{ shape: logits.shape }],
  lower({ inputs: [x, labels, logSum, dloss], outputs: [dx] }, to) {
    const classes = x.shape[x.shape.length - 1];
    to.dispatch({
      kernel: { shader: "cross_entropy_grad" },
      bindings: { x, labels, log_sum: logSum, dloss, dx },
      params: { total: x.size, classes, labelCount: labels.size },
      workgroups: flat(x.size),
      flops: 4 * x.size,
      bytes: 2 * x.bytes,
    });
  },
};

/**
 * -log softmax(logits)[label] of every row.
 * @param logits [..., R, C]
 * @param labels i32 [R], the same for all leading indices; a row whose label is outside 0..C-1 has loss and gradient 0
 * @returns [..., R]
 */
export function softmaxCrossEntropyRows(logits: Tensor, labels: Tensor): Tensor {
  return apply(crossEntropyOp, [logits, labels], null)[0];
}

/**
 * Sum over groups of the mean cross entropy over rows (eq. 1: the groups are the classifiers of the parts).
 * @param logits [..., R, C]; each leading index is a group
 * @param labels i32 [R], the same for all groups; a row whose label is outside 0..C-1 adds nothing, but counts in the mean
 * @returns [1]
 */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor): Tensor {
  return scale(sum(softmaxCrossEntropyRows(logits, labels)), 1 / labels.size);
}
