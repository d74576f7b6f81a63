/** Float64 reference of the GPU's image preparation, a separable resize as PIL's, without its rounding to bytes. */

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** RGB, row after row. */
  readonly data: Uint8Array;
}

export interface Preparation {
  readonly flip?: boolean;
  /** Right and down, in pixels of the result. */
  readonly shift?: readonly [number, number];
  /** Top, left, height, width, in pixels of the result. */
  readonly erase?: readonly [number, number, number, number];
}

export interface Look {
  /** Normalised values of what a shifted picture does not cover. */
  readonly fill?: readonly number[];
  /** Normalised values of erased pixels. */
  readonly erasure?: readonly number[];
  readonly interpolation?: "bilinear" | "bicubic";
}

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

const KERNELS = {
  bilinear: (x: number) => Math.max(0, 1 - Math.abs(x)),
  // Keys' cubic convolution with a = -1/2, as the two polynomials of the literature.
  bicubic(x: number) {
    const [a, t] = [-0.5, Math.abs(x)];
    if (t < 1) return (a + 2) * t ** 3 - (a + 3) * t ** 2 + 1;
    return t < 2 ? a * t ** 3 - 5 * a * t ** 2 + 8 * a * t - 4 * a : 0;
  },
};

/** Shares that the pixels of a line have in each pixel of the resized line, [to][from]. */
function shares(from: number, to: number, kernel: (x: number) => number): number[][] {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, o) => {
    const centre = (o + 0.5) * scale;
    const hat = Array.from({ length: from }, (_, i) => kernel((i + 0.5 - centre) / reach));
    const total = hat.reduce((a, b) => a + b, 0);
    return hat.map((v) => v / total);
  });
}

/** @returns [height, width, 3], normalised */
export function prepare(
  { width: sw, height: sh, data }: Picture,
  height: number,
  width: number,
  { flip = false, shift = [0, 0], erase = [0, 0, 0, 0] }: Preparation = {},
  { fill = [0, 0, 0], erasure = fill, interpolation = "bilinear" }: Look = {},
): Float64Array {
  const [down, right] = [shares(sh, height, KERNELS[interpolation]), shares(sw, width, KERNELS[interpolation])];
  const clip = (v: number) => Math.min(255, Math.max(0, v));
  const pixel = (v: number, u: number, c: number) => {
    let sum = 0;
    for (let i = 0; i < sh; i++) {
      let line = 0;
      for (let j = 0; j < sw; j++) line += right[u][j] * data[(i * sw + j) * 3 + c];
      sum += down[v][i] * clip(line);
    }
    return (clip(sum) / 255 - MEAN[c]) / STD[c];
  };
  // The order of a training transform: shift the resized picture, mirror the result, erase a rectangle of that.
  const shifted = (v: number, u: number, c: number) => {
    const [row, column] = [v - shift[1], u - shift[0]];
    return row >= 0 && row < height && column >= 0 && column < width ? pixel(row, column, c) : fill[c];
  };
  const [top, left, tall, wide] = erase;
  return Float64Array.from({ length: height * width * 3 }, (_, at) => {
    const [c, u, v] = [at % 3, Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
    if (v >= top && v < top + tall && u >= left && u < left + wide) return erasure[c];
    return shifted(v, flip ? width - 1 - u : u, c);
  });
}
