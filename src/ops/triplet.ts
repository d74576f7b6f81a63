/** Batch-hard triplet loss (shaders/hard_triplet*.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectLabels, expectShape } from "./check.js";
import { cosineDistanceMatrix } from "./cosine.js";
import { euclideanDistanceMatrix } from "./euclidean.js";
import { flat } from "./lanes.js";

interface HardTripletAttrs {
  readonly margin: number;
  readonly average: "violating" | "all";
}

const hardTripletOp: Op<HardTripletAttrs> = {
  name: "batchHardTriplet",
  outputs([distances, labels]) {
    const n = distances.shape[0];
    expectShape(distances, [n, n], "distances");
    expectLabels(labels, n);
    return [{ shape: [1] }, { shape: [1] }, { shape: [n, 2], dtype: "u32" }];
  },
  gradient({ inputs: [distances], outputs: [, divisor, picks] }, [dloss]) {
    return [dloss && apply(hardTripletGradOp, [dloss, divisor, picks], distances.shape)[0], null];
  },
  lower({ inputs: [d, labels], outputs: [loss, divisor, picks], attrs: { margin, average } }, to) {
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
      bindings: { hinge, loss, divisor },
      params: { count, all: Number(average === "all") },
      workgroups: [1],
      bytes: hinge.bytes,
    });
  },
};

const hardTripletGradOp: Op<readonly number[]> = {
  name: "batchHardTripletGrad",
  outputs: (_, shape) => [{ shape }],
  lower({ inputs: [dloss, divisor, picks], outputs: [dd] }, to) {
    to.dispatch({
      kernel: { shader: "hard_triplet_grad" },
      bindings: { dloss, picks, divisor, dd },
      params: { count: dd.shape[0] },
      workgroups: flat(dd.size),
      bytes: dd.bytes,
    });
  },
};

export interface TripletOptions {
  /** "cosine" by default. */
  readonly distance?: "cosine" | "euclidean";
  /** What the sum of hinges is divided by: the triplets that violate the margin (the default), or all anchors. */
  readonly average?: "violating" | "all";
}

/**
 * Batch-hard triplet loss, by default as eq. 3 has it: for each anchor the farthest positive (itself excluded) and the
 * nearest negative; hinges are summed and divided by the number of triplets that violate the margin (by 1 where none
 * does). An anchor without a positive or without a negative has hinge 0. On a tie the first index takes the gradient
 * (torch's amax would spread it evenly).
 * @param h [N, D]
 * @param labels i32 [N]
 * @param margin alpha of eq. 3, in the unit of the distance
 * @returns [1]
 */
export function batchHardTriplet(
  h: Tensor,
  labels: Tensor,
  margin: number,
  { distance = "cosine", average = "violating" }: TripletOptions = {},
): Tensor {
  const distances = distance === "cosine" ? cosineDistanceMatrix(h, h) : euclideanDistanceMatrix(h);
  return apply(hardTripletOp, [distances, labels], { margin, average })[0];
}
