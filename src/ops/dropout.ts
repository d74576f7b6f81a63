/** Dropout whose mask is a function of a seed and each element's position (shaders/dropout.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectShape } from "./check.js";
import { flat } from "./lanes.js";

interface DropoutAttrs {
  readonly rate: number;
  readonly stream: number;
}

const dropoutOp: Op<DropoutAttrs> = {
  name: "dropout",
  outputs([x, seed], { rate }) {
    if (!(rate >= 0 && rate < 1)) throw new Error(`the rate must be at least 0 and below 1, got ${rate}`);
    expectShape(seed, [1], "the seed");
    if (seed.dtype !== "u32") throw new Error(`the seed must be u32, got ${seed.dtype}`);
    return [{ shape: x.shape }];
  },
  gradient(node, [dy]) {
    return [dy && apply(dropoutOp, [dy, node.inputs[1]], node.attrs)[0], null];
  },
  lower({ inputs: [x, seed], outputs: [y], attrs: { rate, stream } }, to) {
    to.dispatch({
      kernel: { shader: "dropout" },
      bindings: { x, seed, y },
      params: { total: x.size, stream, threshold: Math.floor(rate * 2 ** 32), k: 1 / (1 - rate) },
      workgroups: flat(x.size),
      bytes: x.bytes + y.bytes,
    });
  },
};

/**
 * Dropout for training: zeroes each element with probability `rate` and scales the others by 1 / (1 - rate). Networks for
 * inference leave it out.
 * @param x any shape
 * @param seed u32 [1], fed anew for every step; the same seed and stream give the same mask
 * @param stream whole number that tells apart several dropouts under one seed. Throws ShapeError on a rate outside [0, 1)
 */
export function dropout(x: Tensor, rate: number, seed: Tensor, stream = 0): Tensor {
  return apply(dropoutOp, [x, seed], { rate, stream })[0];
}
