/** Float64 references of ops on NHWC maps. */
type Values = ArrayLike<number>;
type MapShape = readonly [images: number, height: number, width: number, channels: number];

export function maxPool(
  x: Values,
  [n, h, w, c]: MapShape,
  kernel: number,
  stride: number,
  padding: number,
): Float64Array {
  const [oh, ow] = [h, w].map((size) => Math.floor((size + 2 * padding - kernel) / stride) + 1);
  const y = new Float64Array(n * oh * ow * c).fill(Number.NEGATIVE_INFINITY);
  for (let at = 0; at < y.length; at++) {
    const [channel, column, row, image] = [
      at % c,
      Math.floor(at / c) % ow,
      Math.floor(at / c / ow) % oh,
      Math.floor(at / c / ow / oh),
    ];
    for (let u = 0; u < kernel; u++) {
      for (let v = 0; v < kernel; v++) {
        const [i, j] = [row * stride - padding + u, column * stride - padding + v];
        if (i >= 0 && i < h && j >= 0 && j < w) y[at] = Math.max(y[at], x[((image * h + i) * w + j) * c + channel]);
      }
    }
  }
  return y;
}

/** Position in the map of output i of `outputs` over the crop [start, end), clamped to the crop and to the map. */
function sample(i: number, start: number, end: number, outputs: number, size: number): number {
  const length = Math.max(end - start, 0);
  const inside = ((i + 0.5) * length) / outputs - 0.5;
  const clamped = Math.min(Math.max(inside, 0), Math.max(length - 1, 0));
  return Math.min(Math.max(start + clamped, 0), size - 1);
}

/** The hat function: the share of a sample at `at` that pixel i has. */
const hat = (at: number, i: number) => Math.max(0, 1 - Math.abs(at - i));

export function cropResize(x: Values, [n, h, w, c]: MapShape, boxes: Values, oh: number, ow: number): Float64Array {
  const y = new Float64Array(n * oh * ow * c);
  for (let image = 0; image < n; image++) {
    const [top, left, bottom, right] = [0, 1, 2, 3].map((i) => boxes[4 * image + i]);
    for (let row = 0; row < oh; row++) {
      for (let column = 0; column < ow; column++) {
        const [v, u] = [sample(row, top, bottom, oh, h), sample(column, left, right, ow, w)];
        for (let i = 0; i < h; i++) {
          for (let j = 0; j < w; j++) {
            const share = hat(v, i) * hat(u, j);
            if (share === 0) continue;
            for (let k = 0; k < c; k++)
              y[((image * oh + row) * ow + column) * c + k] += share * x[((image * h + i) * w + j) * c + k];
          }
        }
      }
    }
  }
  return y;
}

/** Average plus maximum of every run of adjacent stripes, short runs first: [n, runs, c]. */
export function pyramidPool(x: Values, [n, h, w, c]: MapShape, stripes: number): number[] {
  const y: number[] = [];
  const positions = (h / stripes) * w;
  for (let image = 0; image < n; image++) {
    for (let length = 1; length <= stripes; length++) {
      for (let first = 0; first + length <= stripes; first++) {
        for (let channel = 0; channel < c; channel++) {
          const values = Array.from(
            { length: length * positions },
            (_, p) => x[(image * h * w + first * positions + p) * c + channel],
          );
          y.push(values.reduce((a, b) => a + b, 0) / values.length + Math.max(...values));
        }
      }
    }
  }
  return y;
}
