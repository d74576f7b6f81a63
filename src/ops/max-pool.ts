/** Max pooling over windows (shaders/max_pool*.wgsl). */
import { apply, type Op, type Shape, type Tensor } from "../graph/tensor.js";
import { expectRank } from "./check.js";
import { elemOf, flat, stored } from "./lanes.js";

export interface MaxPoolAttrs {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

/** What both kernels are told, in elements of their type. */
function geometry(map: Shape, pooled: Shape, { kernel, stride, padding }: MaxPoolAttrs, elem: number) {
  const [, height, width, channels] = map;
  return {
    channels: channels / elem,
    height,
    width,
    outHeight: pooled[1],
    outWidth: pooled[2],
    k: kernel,
    stride,
    pad: padding,
  };
}

const maxPoolOp: Op<MaxPoolAttrs> = {
  name: "maxPool",
  halves: { inputs: [0], outputs: [0] },
  outputs([x], { kernel, stride, padding }) {
    expectRank(x, 4, "an NHWC map");
    if (
      ![kernel, stride, padding].every(Number.isInteger) ||
      kernel < 1 ||
      stride < 1 ||
      padding < 0 ||
      2 * padding > kernel
    ) {
      throw new Error(
        `needs whole numbers kernel >= 1, stride >= 1, 0 <= padding <= kernel / 2; got ${kernel}, ${stride}, ${padding}`,
      );
    }
    const [images, height, width, channels] = x.shape;
    const [h, w] = [height, width].map((size) => Math.floor((size + 2 * padding - kernel) / stride) + 1);
    if (h < 1 || w < 1)
      throw new Error(`a window of ${kernel} x ${kernel} does not fit ${height} x ${width} with padding ${padding}`);
    const shape = [images, h, w, channels];
    return [{ shape }, { shape, dtype: "u32" }];
  },
  gradient({ inputs: [x], outputs: [, argmax], attrs }, [dy]) {
    return dy ? apply(maxPoolGradOp, [dy, argmax], { ...attrs, shape: x.shape }) : [null];
  },
  lower({ inputs: [x], outputs: [y, argmax], attrs }, to) {
    const elem = elemOf(x.shape[3]);
    const total = y.size / elem;
    to.dispatch({
      kernel: { shader: "max_pool", defines: { ELEM: elem, X: stored(x, elem), Y: stored(y, elem) } },
      bindings: { x, y, argmax },
      params: { total, ...geometry(x.shape, y.shape, attrs, elem) },
      workgroups: flat(total),
      bytes: x.bytes + y.bytes + argmax.bytes,
    });
  },
};

const maxPoolGradOp: Op<MaxPoolAttrs & { readonly shape: Shape }> = {
  name: "maxPoolGrad",
  halves: { inputs: [0], outputs: [0] },
  outputs: (_, { shape }) => [{ shape }],
  lower({ inputs: [dy, argmax], outputs: [dx], attrs }, to) {
    const elem = elemOf(dx.shape[3]);
    const total = dx.size / elem;
    to.dispatch({
      kernel: { shader: "max_pool_grad", defines: { ELEM: elem, DY: stored(dy, elem), DX: stored(dx, elem) } },
      bindings: { dy, argmax, dx },
      params: { total, ...geometry(dx.shape, dy.shape, attrs, elem) },
      workgroups: flat(total),
      bytes: dx.bytes + dy.bytes + argmax.bytes,
    });
  },
};

export interface MaxPoolOptions {
  /** Side of the window; 3 by default. */
  readonly kernel?: number;
  /** 2 by default. */
  readonly stride?: number;
  /** Rows and columns around the map, never chosen; 1 by default, at most half of `kernel`. */
  readonly padding?: number;
}

/**
 * Max pooling over square windows; by default 3 x 3, stride 2, padding 1, as after a ResNet's first convolution.
 * @param x [N, H, W, C]
 * @returns [N, H', W', C] with H' = floor((H + 2 padding - kernel) / stride) + 1; on a tie the first position takes the gradient.
 * Throws ShapeError where no window fits
 */
export function maxPool(x: Tensor, { kernel = 3, stride = 2, padding = 1 }: MaxPoolOptions = {}): Tensor {
  return apply(maxPoolOp, [x], { kernel, stride, padding })[0];
}
