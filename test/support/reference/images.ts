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

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** Shares that the pixels of a line have in each pixel of the resized line, [to][from]. */
function shares(from: number, to: number): number[][] {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, o) => {
    const centre = (o + 0.5) * scale;
    const hat = Array.from({ length: from }, (_, i) => Math.max(0, 1 - Math.abs(i + 0.5 - centre) / reach));
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
  fill: readonly number[] = [0, 0, 0],
): Float64Array {
  const [down, right] = [shares(sh, height), shares(sw, width)];
  const pixel = (v: number, u: number, c: number) => {
    let sum = 0;
    for (let i = 0; i < sh; i++)
      for (let j = 0; j < sw; j++) sum += down[v][i] * right[u][j] * data[(i * sw + j) * 3 + c];
    return (sum / 255 - MEAN[c]) / STD[c];
  };
  // The order of a training transform: shift the resized picture, mirror the result, erase a rectangle of that.
  const shifted = (v: number, u: number, c: number) => {
    const [row, column] = [v - shift[1], u - shift[0]];
    return row >= 0 && row < height && column >= 0 && column < width ? pixel(row, column, c) : fill[c];
  };
  const [top, left, tall, wide] = erase;
  return Float64Array.from({ length: height * width * 3 }, (_, at) => {
    const [c, u, v] = [at % 3, Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
    if (v >= top && v < top + tall && u >= left && u < left + wide) return fill[c];
    return shifted(v, flip ? width - 1 - u : u, c);
  });
}
