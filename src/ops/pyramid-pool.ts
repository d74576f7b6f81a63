/** Pooling of all runs of adjacent stripes (shaders/pyramid_*.wgsl). */
import { apply, type Op, type Shape, type Tensor } from "../graph/tensor.js";
import { expectRank } from "./check.js";
import { elemOf, flat, stored } from "./lanes.js";

const runsOf = (stripes: number) => (stripes * (stripes + 1)) / 2;

/** Outputs: y, and what the gradient needs: the stripes' maxima and where they were found. */
const pyramidPoolOp: Op<number> = {
  name: "pyramidPool",
  halves: { inputs: [0], outputs: [] },
  outputs([x], stripes) {
    expectRank(x, 4, "an NHWC map");
    const [n, rows, , channels] = x.shape;
    if (!Number.isInteger(stripes) || stripes < 1 || rows % stripes !== 0)
      throw new Error(`${stripes} stripes do not divide ${rows} rows`);
    const pooled = [n, stripes, channels];
    return [{ shape: [n, runsOf(stripes), channels] }, { shape: pooled }, { shape: pooled, dtype: "u32" }];
  },
  gradient({ inputs: [x], outputs: [, highest, argmax] }, [dy]) {
    return [dy && apply(pyramidPoolGradOp, [dy, highest, argmax], x.shape)[0]];
  },
  lower({ inputs: [x], outputs: [y, highest, argmax], attrs: stripes }, to) {
    const channels = x.shape[3];
    const elem = elemOf(channels);
    const average = to.scratch("average", highest.shape);
    to.dispatch({
      kernel: { shader: "pyramid_stripes", defines: { ELEM: elem, X: stored(x, elem) } },
      bindings: { x, average, highest, argmax },
      params: { total: highest.size / elem, positions: x.size / highest.size, channels: channels / elem },
      workgroups: flat(highest.size / elem),
      flops: x.size,
      bytes: x.bytes + 3 * highest.bytes,
    });
    to.dispatch({
      kernel: { shader: "pyramid_runs", defines: { ELEM: elem } },
      bindings: { average, highest, y },
      params: { total: y.size / elem, stripes, runs: runsOf(stripes), channels: channels / elem },
      workgroups: flat(y.size / elem),
      flops: y.size,
      bytes: 2 * highest.bytes + y.bytes,
    });
  },
};

const pyramidPoolGradOp: Op<Shape> = {
  name: "pyramidPoolGrad",
  halves: { inputs: [], outputs: [0] },
  outputs: (_, shape) => [{ shape }],
  lower({ inputs: [dy, highest, argmax], outputs: [dx] }, to) {
    const [, stripes, channels] = highest.shape;
    const elem = elemOf(channels);
    const [daverage, dhighest] = ["daverage", "dhighest"].map((name) => to.scratch(name, highest.shape));
    to.dispatch({
      kernel: { shader: "pyramid_runs_grad", defines: { ELEM: elem } },
      bindings: { dy, highest, daverage, dhighest },
      params: { total: highest.size / elem, stripes, channels: channels / elem },
      workgroups: flat(highest.size / elem),
      bytes: dy.bytes + 3 * highest.bytes,
    });
    to.dispatch({
      kernel: { shader: "pyramid_stripes_grad", defines: { ELEM: elem, DX: stored(dx, elem) } },
      bindings: { daverage, dhighest, argmax, dx },
      params: { total: dx.size / elem, positions: dx.size / highest.size, channels: channels / elem },
      workgroups: flat(dx.size / elem),
      bytes: dx.bytes + 3 * highest.bytes,
    });
  },
};

/**
 * Average plus maximum of every run of adjacent stripes, read from the map once.
 * @param x [N, H, W, C]
 * @param stripes S, which must divide H
 * @returns [N, S (S + 1) / 2, C]: the single stripes, then the runs of two, and so on to the whole map; on a tie the first
 * position takes the maximum's gradient
 */
export function pyramidPool(x: Tensor, stripes: number): Tensor {
  return apply(pyramidPoolOp, [x], stripes)[0];
}
