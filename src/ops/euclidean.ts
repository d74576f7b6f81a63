/** Euclidean distances (shaders/euclidean*.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectRank } from "./check.js";
import { elemOf, flat } from "./lanes.js";

const euclideanOp: Op<null> = {
  name: "euclideanDistanceMatrix",
  outputs([x]) {
    expectRank(x, 2, "rows of features [N, D]");
    return [{ shape: [x.shape[0], x.shape[0]] }];
  },
  gradient({ inputs: [x], outputs: [d] }, [dd]) {
    return [dd && apply(euclideanGradOp, [x, d, dd], null)[0]];
  },
  lower({ inputs: [x], outputs: [d] }, to) {
    const [rows, columns] = x.shape;
    const elem = elemOf(columns);
    to.dispatch({
      kernel: { shader: "euclidean", defines: { ELEM: elem } },
      bindings: { x, d },
      params: { rows, columns: columns / elem },
      workgroups: flat(d.size),
      flops: 3 * d.size * columns,
      bytes: x.bytes + d.bytes,
    });
  },
};

const euclideanGradOp: Op<null> = {
  name: "euclideanDistanceMatrixGrad",
  outputs: ([x]) => [{ shape: x.shape }],
  lower({ inputs: [x, d, dd], outputs: [dx] }, to) {
    const [rows, columns] = x.shape;
    const elem = elemOf(columns);
    to.dispatch({
      kernel: { shader: "euclidean_grad", defines: { ELEM: elem } },
      bindings: { x, d, dd, dx },
      params: { rows, columns: columns / elem },
      workgroups: flat(dx.size / elem),
      bytes: 2 * x.bytes + 2 * d.bytes,
    });
  },
};

/**
 * Euclidean distances between all pairs of rows.
 * @param x [N, D]
 * @returns [N, N], at least 1e-6, where there is no gradient
 */
export function euclideanDistanceMatrix(x: Tensor): Tensor {
  return apply(euclideanOp, [x], null)[0];
}
