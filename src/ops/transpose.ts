/** Transposition of matrices (shaders/transpose.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { elemOf, flat } from "./lanes.js";

const transposeOp: Op<null> = {
  name: "transpose",
  outputs([x]) {
    if (x.shape.length < 2) throw new Error("matrices need rank 2 or more");
    const [rows, columns] = x.shape.slice(-2);
    return [{ shape: [...x.shape.slice(0, -2), columns, rows] }];
  },
  gradient: (_, [dy]) => [dy && transpose(dy)],
  lower({ inputs: [x], outputs: [y] }, to) {
    const [rows, columns] = x.shape.slice(-2);
    const elem = elemOf(rows, columns);
    const squares = x.size / elem ** 2;
    to.dispatch({
      kernel: { shader: "transpose", defines: { ELEM: elem } },
      bindings: { x, y },
      params: { size: squares, rows: rows / elem, cols: columns / elem },
      workgroups: flat(squares),
      bytes: 2 * x.bytes,
    });
  },
};

/**
 * The last two axes swapped.
 * @param x [..., M, N]
 * @returns [..., N, M]
 */
export function transpose(x: Tensor): Tensor {
  return apply(transposeOp, [x], null)[0];
}
