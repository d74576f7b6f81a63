/**
 * What happens to a training image (Sec. 5.1): random translation, horizontal flip, random erasing, in this order. Here
 * only the numbers are drawn; the pixels are moved on the GPU.
 */
import { chance, integer, type RandomGenerator, Stream, seededRng, uniform } from "../random.js";

export interface AugmentationOptions {
  /** Probability of a horizontal flip. */
  flip: number;
  translation: {
    /** The image and `variants - 1` shifted copies are equally likely; the paper enlarges fivefold. 1 turns it off. */
    variants: number;
    /** A shift is uniform within +- this share of the height and of the width. */
    range: number;
  };
  erase: {
    probability: number;
    /** Least and largest share of the image's area. */
    area: [number, number];
    /** Least and largest height / width. */
    aspect: [number, number];
    /** Rectangles drawn at most until one fits into the image. */
    tries: number;
  };
}

/** The paper's: five-fold translation, flip and erasing with probability 0.5; ranges of the official code. */
export const DEFAULT_AUGMENTATION: AugmentationOptions = {
  flip: 0.5,
  translation: { variants: 5, range: 0.05 },
  erase: { probability: 0.5, area: [0.02, 0.4], aspect: [0.3, 3.33], tries: 100 },
};

export interface Size {
  height: number;
  width: number;
}

export interface Rectangle extends Size {
  top: number;
  left: number;
}

/** Plan for one image, in pixels of the network's input. */
export interface Augmentation {
  /** Mirrored left to right, after the shift. */
  flip: boolean;
  /** Pixels by which the content moves right. */
  shiftX: number;
  /** Pixels by which the content moves down. */
  shiftY: number;
  /** Rectangle of the final image to fill, or null. */
  erase: Rectangle | null;
}

/** Draws the plan for one image of the network's input size. */
export function drawAugmentation(rng: RandomGenerator, options: AugmentationOptions, size: Size): Augmentation {
  const { variants, range } = options.translation;
  const moved = variants > 1 && integer(rng, 0, variants - 1) > 0;
  const reach = (extent: number) => (moved ? Math.round(range * extent) : 0);
  const shift = (limit: number) => (limit > 0 ? integer(rng, -limit, limit) : 0);
  const shiftY = shift(reach(size.height));
  const shiftX = shift(reach(size.width));
  const flip = chance(rng, options.flip);
  return { flip, shiftX, shiftY, erase: chance(rng, options.erase.probability) ? drawErase(rng, options, size) : null };
}

function drawErase(rng: RandomGenerator, { erase }: AugmentationOptions, size: Size): Rectangle | null {
  for (let attempt = 0; attempt < erase.tries; attempt++) {
    const area = uniform(rng, ...erase.area) * size.height * size.width;
    const aspect = uniform(rng, ...erase.aspect);
    const height = Math.round(Math.sqrt(area * aspect));
    const width = Math.round(Math.sqrt(area / aspect));
    if (height > 0 && width > 0 && height < size.height && width < size.width) {
      const top = integer(rng, 0, size.height - height);
      const left = integer(rng, 0, size.width - width);
      return { top, left, height, width };
    }
  }
  return null;
}

/** The plans of a whole batch. They depend on the seed and the batch's number alone, whatever was drawn before. */
export function augmentBatch(
  seed: number,
  batch: number,
  images: number,
  options: AugmentationOptions,
  size: Size,
): Augmentation[] {
  return Array.from({ length: images }, (_, position) =>
    drawAugmentation(seededRng(seed, Stream.augmentation, batch, position), options, size),
  );
}
