import type { Lowering } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectRank } from "./check.js";
import { elemOf, flat, stored } from "./lanes.js";

const globalMaxPoolOp: Op<null> = {
  name: "globalMaxPool",
  halves: { inputs: [0], outputs: [] },
  outputs([x]) {
    expectRank(x, 4, "an NHWC map");
    const shape = [x.shape[0], x.shape[3]];
    return [{ shape }, { shape, dtype: "u32" }];
  },
  gradient(node, [dy]) {
    if (!dy) return [null];
    return apply(globalMaxPoolGradOp, [dy, node.outputs[1]], node.inputs[0].shape);
  },
  lower({ inputs: [x], outputs: [y, argmax] }, to) {
    const [images, h, w, channels] = x.shape;
    to.dispatch({
      kernel: { shader: "global_max_pool", defines: { X: stored(x, 1) } },
      bindings: { x, y, argmax },
      params: { images, positions: h * w, channels },
      workgroups: flat(y.size),
      bytes: x.bytes + 2 * y.bytes,
    });
  },
};

const globalMaxPoolGradOp: Op<readonly number[]> = {
  name: "globalMaxPoolGrad",
  halves: { inputs: [], outputs: [0] },
  outputs: (_, shape) => [{ shape }],
  lower({ inputs: [dy, argmax], outputs: [dx] }, to) {
    const [, h, w, channels] = dx.shape;
    dispatchMaxGrad(to, { dy, argmax, dx }, h * w, channels);
  },
};

/** Positions for which an invocation looks at what was kept, on GPUs. */
const RUN = 8;

/** dx [.., positions, channels] is dy [.., channels] where the maximum was, and else 0. */
export function dispatchMaxGrad(
  to: Lowering,
  tensors: { dy: Tensor; argmax: Tensor; dx: Tensor },
  positions: number,
  channels: number,
): void {
  const { dy, dx } = tensors;
  const elem = elemOf(channels);
  const run = to.profile.software ? 1 : RUN;
  const total = (dx.size / positions / elem) * Math.ceil(positions / run);
  to.dispatch({
    kernel: { shader: "global_max_pool_grad", defines: { ELEM: elem, DX: stored(dx, elem), RUN: run } },
    bindings: tensors,
    params: { total, positions, channels: channels / elem },
    workgroups: flat(total),
    bytes: dx.bytes + 2 * dy.bytes,
  });
}

/**
 * Global max pooling (GMP, Sec. 3.3).
 * @param x [N, H, W, C]
 * @returns [N, C]; on a tie the first position takes the gradient
 */
export function globalMaxPool(x: Tensor): Tensor {
  return apply(globalMaxPoolOp, [x], null)[0];
}
