import { grid } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";

/** Columns of the table that describes a batch's pictures; see shaders/prepare_images.wgsl. */
export const IMAGE_TABLE_COLUMNS = 10;

/** ImageNet's statistics of RGB in [0, 1], as everywhere in person re-identification. */
export const PIXEL_MEAN = [0.485, 0.456, 0.406];
export const PIXEL_DEVIATION = [0.229, 0.224, 0.225];

type Rgb = readonly [red: number, green: number, blue: number];

export interface PrepareImagesOptions {
  /** Normalised values of what a shifted picture does not cover; by default 0, the mean colour. */
  readonly fill?: Rgb;
  /** Normalised values of erased pixels; by default those of `fill`. */
  readonly erasure?: Rgb;
  /** How pictures are resized, as PIL does either; "bilinear" by default. */
  readonly interpolation?: "bilinear" | "bicubic";
}

interface PrepareAttrs extends Required<PrepareImagesOptions> {
  readonly height: number;
  readonly width: number;
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
  lower({ inputs: [bytes, table], outputs: [y], attrs }, to) {
    const { height, width, fill, erasure, interpolation } = attrs;
    const images = table.shape[0];
    to.dispatch({
      kernel: { shader: "prepare_images", defines: { CUBIC: interpolation === "bicubic" } },
      bindings: { bytes, table, y },
      params: {
        images,
        height,
        width,
        mean: [...PIXEL_MEAN, 0],
        deviation: [...PIXEL_DEVIATION, 1],
        fill: [...fill, 0],
        erasure: [...erasure, 0],
      },
      workgroups: grid(Math.ceil((images * height * width) / 64)),
      bytes: bytes.bytes + y.bytes,
    });
  },
};

/**
 * Network input from decoded pictures: resize (antialiased where it shrinks), shift, flip, random erasing and
 * normalisation.
 * @param bytes u32, the RGB bytes of all pictures
 * @param table i32 [N, 10]: byte offset, width, height, flip, shift right, shift down (network pixels), and top, left,
 * height, width of the erased rectangle (network pixels; height 0: none)
 * @returns [N, height, width, 3]
 */
export function prepareImages(
  bytes: Tensor,
  table: Tensor,
  height: number,
  width: number,
  { fill = [0, 0, 0], erasure = fill, interpolation = "bilinear" }: PrepareImagesOptions = {},
): Tensor {
  return apply(prepareImagesOp, [bytes, table], { height, width, fill, erasure, interpolation })[0];
}
