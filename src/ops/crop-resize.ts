/** Bilinear crop-resize (shaders/crop_*.wgsl). */
import { apply, type Op, type Shape, type Tensor } from "../graph/tensor.js";
import { expectRank, expectShape } from "./check.js";
import { elemOf, flat, stored } from "./lanes.js";

export interface MapSize {
  readonly height: number;
  readonly width: number;
}

/** What both kernels are told, in elements of their type. */
function geometry(map: Shape, resized: Shape, elem: number) {
  const [, height, width, channels] = map;
  return { channels: channels / elem, height, width, outHeight: resized[1], outWidth: resized[2] };
}

const cropResizeOp: Op<MapSize> = {
  name: "cropResize",
  halves: { inputs: [0], outputs: [0] },
  outputs([x, boxes], { height, width }) {
    expectRank(x, 4, "an NHWC map");
    expectShape(boxes, [x.shape[0], 4], "boxes (top, left, bottom, right of each image)");
    return [{ shape: [x.shape[0], height, width, x.shape[3]] }];
  },
  gradient({ inputs: [x, boxes] }, [dy]) {
    return [dy && apply(cropResizeGradOp, [dy, boxes], x.shape)[0], null];
  },
  lower({ inputs: [x, boxes], outputs: [y] }, to) {
    const elem = elemOf(x.shape[3]);
    const total = y.size / elem;
    to.dispatch({
      kernel: { shader: "crop_resize", defines: { ELEM: elem, X: stored(x, elem), Y: stored(y, elem) } },
      bindings: { x, boxes, y },
      params: { total, ...geometry(x.shape, y.shape, elem) },
      workgroups: flat(total),
      flops: 9 * y.size,
      bytes: x.bytes + y.bytes,
    });
  },
};

const cropResizeGradOp: Op<Shape> = {
  name: "cropResizeGrad",
  halves: { inputs: [0], outputs: [0] },
  outputs: (_, shape) => [{ shape }],
  lower({ inputs: [dy, boxes], outputs: [dx] }, to) {
    const elem = elemOf(dx.shape[3]);
    const columns = !to.profile.software && (dx.shape[3] / elem) % 4 === 0 ? 4 : 1;
    const total = dx.size / elem / columns;
    to.dispatch({
      kernel: {
        shader: "crop_resize_grad",
        defines: { ELEM: elem, DY: stored(dy, elem), DX: stored(dx, elem), COLUMNS: columns },
      },
      bindings: { dy, boxes, dx },
      params: { total, ...geometry(dx.shape, dy.shape, elem) },
      workgroups: flat(total),
      bytes: dx.bytes + dy.bytes,
    });
  },
};

/**
 * One crop of each image, resized bilinearly: half-pixel centres, samples clamped to the crop (no neighbour outside of it is
 * looked at where the box is whole pixels), and to the map where the box leaves it. With boxes of whole rows and all
 * columns this is ROI Resize of Sec. 3.3.
 * @param x [N, H, W, C]
 * @param boxes f32 [N, 4]: top, left, bottom, right in pixels of x, ends excluded, fractions allowed; no gradient
 * @param size of the output
 * @returns [N, height, width, C]
 */
export function cropResize(x: Tensor, boxes: Tensor, size: MapSize): Tensor {
  return apply(cropResizeOp, [x, boxes], size)[0];
}
