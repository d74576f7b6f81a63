/** Lays decoded pictures and their augmentation out for the GPU: one run of bytes and a table (ops/prepare-images.ts). */
import { IMAGE_TABLE_COLUMNS } from "../ops/index.js";
import type { Augmentation } from "./augment.js";
import type { RgbImage } from "./image.js";

export interface PackedImages {
  /** RGB bytes of all pictures, padded to whole 32-bit words. */
  readonly bytes: Uint8Array;
  /** [slots, 10] */
  readonly table: Int32Array;
}

/** One row of the table: which picture, and what is done to it. */
export interface Slot {
  readonly image: number;
  readonly augmentation?: Pick<Augmentation, "flip"> & Partial<Augmentation>;
}

/**
 * The most pixels a picture may keep on its way to a network of this input size. Larger ones are halved when decoded until
 * they fit, which leaves at least as many pixels as the network takes.
 */
export function maxPicturePixels([height, width]: readonly [number, number]): number {
  return 4 * height * width;
}

/** Several slots may show one picture (the flipped copy at test time); its bytes are uploaded once. */
export function packImages(images: readonly RgbImage[], slots: readonly Slot[]): PackedImages {
  const offsets: number[] = [];
  let total = 0;
  for (const image of images) {
    offsets.push(total);
    total += image.data.length;
  }
  const bytes = new Uint8Array(Math.ceil(total / 4) * 4);
  images.forEach((image, i) => {
    bytes.set(image.data, offsets[i]);
  });
  const table = new Int32Array(slots.length * IMAGE_TABLE_COLUMNS);
  slots.forEach(({ image, augmentation }, i) => {
    const { flip = false, shiftX = 0, shiftY = 0, erase } = augmentation ?? {};
    const { top = 0, left = 0, height = 0, width = 0 } = erase ?? {};
    const picture = images[image];
    const row = [offsets[image], picture.width, picture.height, Number(flip), shiftX, shiftY, top, left, height, width];
    table.set(row, i * IMAGE_TABLE_COLUMNS);
  });
  return { bytes, table };
}
