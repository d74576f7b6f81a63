/** Float64 reference of convolution. */
type Values = ArrayLike<number>;

export interface ConvCase {
  /** [N, H, W, Cin] */
  readonly x: readonly [number, number, number, number];
  readonly kernel: readonly [number, number];
  readonly filters: number;
  readonly stride?: readonly [number, number];
  readonly padding?: readonly [number, number];
  readonly groups?: number;
  readonly split?: "channels" | "rows";
}

/** [kh, kw, channels that a group sees, filters] */
export function weightShape({ x, kernel, filters, groups = 1, split }: ConvCase): [number, number, number, number] {
  return [...kernel, split === "rows" ? x[3] : x[3] / groups, filters];
}

/** Every product of a convolution: which element of x times which of w joins which of y, with all of one y together. */
export function eachProduct(c: ConvCase, visit: (y: number, x: number, w: number) => void): void {
  const [n, rows, width, channels] = c.x;
  const { stride = [1, 1], padding = [0, 0], groups = 1, filters } = c;
  const [kh, kw, depth] = weightShape(c);
  const byRows = c.split === "rows";
  const height = byRows ? rows / groups : rows;
  const [, oh, ow] = outputShape(c);
  for (let image = 0; image < n; image++) {
    for (let row = 0; row < oh; row++) {
      for (let column = 0; column < ow; column++) {
        for (let f = 0; f < filters; f++) {
          const group = Math.floor((f * groups) / filters);
          const firstRow = byRows ? group * height : 0;
          const firstChannel = byRows ? 0 : group * depth;
          const y = ((image * oh + row) * ow + column) * filters + f;
          for (let u = 0; u < kh; u++) {
            const i = row * stride[0] - padding[0] + u;
            if (i < 0 || i >= height) continue;
            for (let v = 0; v < kw; v++) {
              const j = column * stride[1] - padding[1] + v;
              if (j < 0 || j >= width) continue;
              const from = ((image * rows + firstRow + i) * width + j) * channels + firstChannel;
              const tap = (u * kw + v) * depth;
              for (let k = 0; k < depth; k++) visit(y, from + k, (tap + k) * filters + f);
            }
          }
        }
      }
    }
  }
}

/** [N, rows of one stripe, columns, filters] */
export function outputShape({ x: [n, rows, width], ...c }: ConvCase): [number, number, number, number] {
  const { kernel, filters, stride = [1, 1], padding = [0, 0], groups = 1, split } = c;
  const height = split === "rows" ? rows / groups : rows;
  const along = (size: number, axis: 0 | 1) => Math.floor((size + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1;
  return [n, along(height, 0), along(width, 1), filters];
}

export function conv2d(x: Values, w: Values, bias: Values | null, c: ConvCase): Float64Array {
  const y = new Float64Array(outputShape(c).reduce((a, b) => a * b));
  if (bias) for (let i = 0; i < y.length; i++) y[i] = bias[i % c.filters];
  eachProduct(c, (to, from, weight) => {
    y[to] += x[from] * w[weight];
  });
  return y;
}
