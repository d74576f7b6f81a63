import { grid } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";

/** Columns of the table that describes a batch's pictures; see shaders/prepare_images.wgsl. */
export const IMAGE_TABLE_COLUMNS = 10;

/** ImageNet's statistics of RGB in [0, 1], as everywhere in person re-identification. */
const MEAN = [0.485, 0.456, 0.406, 0];
const DEVIATION = [0.229, 0.224, 0.225, 1];

interface PrepareAttrs {
  readonly height: number;
  readonly width: number;
  readonly fill: readonly [number, number, number];
}

const prepareImagesOp: Op<PrepareAttrs> = {
  name: "prepareImages",
  outputs([bytes, table], { height, width }) {
    if (bytes.dtype !== "u32") throw new Error("bytes must be u32, four bytes each");
    if (table.dtype !== "i32" || table.shape.length !== 2 || table.shape[1] !== IMAGE_TABLE_COLUMNS) {
      throw new Error(`the table must be i32 [images, ${IMAGE_TABLE_COLUMNS}], got ${table.dtype} [${table.shape}]`);
    }
    return [{ shape: [table.shape[0], height, width, 3] }];
  },
  lower({ inputs: [bytes, table], outputs: [y], attrs: { height, width, fill } }, to) {
    const images = table.shape[0];
    to.dispatch({
      kernel: { shader: "prepare_images" },
      bindings: { bytes, table, y },
      params: { images, height, width, mean: MEAN, deviation: DEVIATION, fill: [...fill, 0] },
      workgroups: grid(Math.ceil((images * height * width) / 64)),
      bytes: bytes.bytes + y.bytes,
    });
  },
};

/**
 * Network input from decoded pictures: resize (bilinear, antialiased where it shrinks), shift, flip, random erasing and
 * normalisation.
 * @param bytes u32, the RGB bytes of all pictures
 * @param table i32 [N, 10]: byte offset, width, height, flip, shift right, shift down (network pixels), and top, left,
 * height, width of the erased rectangle (network pixels; height 0: none)
 * @param fill normalised value of erased and uncovered pixels; 0 is the mean colour
 * @returns [N, height, width, 3]
 */
export function prepareImages(
  bytes: Tensor,
  table: Tensor,
  height: number,
  width: number,
  fill: readonly [number, number, number] = [0, 0, 0],
): Tensor {
  return apply(prepareImagesOp, [bytes, table], { height, width, fill })[0];
}
