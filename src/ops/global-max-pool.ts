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
    const elem = elemOf(channels);
    const size = dx.size / elem;
    to.dispatch({
      kernel: { shader: "global_max_pool_grad", defines: { ELEM: elem, DX: stored(dx, elem) } },
      bindings: { dy, argmax, dx },
      params: { size, positions: h * w, channels: channels / elem },
      workgroups: flat(size),
      bytes: dx.bytes + 2 * dy.bytes,
    });
  },
};

/**
 * Global max pooling (GMP, Sec. 3.3).
 * @param x [N, H, W, C]
 * @returns [N, C]; on a tie the first position takes the gradient
 */
export function globalMaxPool(x: Tensor): Tensor {
  return apply(globalMaxPoolOp, [x], null)[0];
}
