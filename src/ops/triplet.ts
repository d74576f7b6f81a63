/** Batch-hard triplet loss (shaders/hard_triplet*.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectLabels, expectShape } from "./check.js";
import { cosineDistanceMatrix } from "./cosine.js";
import { flat } from "./lanes.js";

const hardTripletOp: Op<number> = {
  name: "batchHardTriplet",
  outputs([distances, labels]) {
    const n = distances.shape[0];
    expectShape(distances, [n, n], "distances");
    expectLabels(labels, n);
    return [{ shape: [1] }, { shape: [1] }, { shape: [n, 2], dtype: "u32" }];
  },
  gradient({ inputs: [distances], outputs: [, violations, picks] }, [dloss]) {
    return [dloss && apply(hardTripletGradOp, [dloss, violations, picks], distances.shape)[0], null];
  },
  lower({ inputs: [d, labels], outputs: [loss, violations, picks], attrs: margin }, to) {
    const count = labels.size;
    const hinge = to.scratch("hinge", [count]);
    to.dispatch({
      kernel: { shader: "hard_triplet" },
      bindings: { d, labels, hinge, picks },
      params: { count, margin },
      workgroups: flat(count),
      bytes: d.bytes,
    });
    to.dispatch({
      kernel: { shader: "hard_triplet_total" },
      bindings: { hinge, loss, violations },
      params: { count },
      workgroups: [1],
      bytes: hinge.bytes,
    });
  },
};

const hardTripletGradOp: Op<readonly number[]> = {
  name: "batchHardTripletGrad",
  outputs: (_, shape) => [{ shape }],
  lower({ inputs: [dloss, violations, picks], outputs: [dd] }, to) {
    to.dispatch({
      kernel: { shader: "hard_triplet_grad" },
      bindings: { dloss, picks, violations, dd },
      params: { count: dd.shape[0] },
      workgroups: flat(dd.size),
      bytes: dd.bytes,
    });
  },
};

/**
 * Batch-hard triplet loss on cosine distances (eq. 3): for each anchor the farthest positive (itself excluded) and the
 * nearest negative; hinges are summed and divided by the number of triplets that violate the margin (by 1 where none
 * does). An anchor without a positive or without a negative has hinge 0. On a tie the first index takes the gradient
 * (torch's amax would spread it evenly).
 * @param h [N, D]
 * @param labels i32 [N]
 * @param margin alpha of eq. 3
 * @returns [1]
 */
export function batchHardTriplet(h: Tensor, labels: Tensor, margin: number): Tensor {
  return apply(hardTripletOp, [cosineDistanceMatrix(h, h), labels], margin)[0];
}
