/** Plain float64 answers that the self-check compares kernels with. Maps are NHWC, weights [kh, kw, in, out]. */

export type Numbers = Float64Array;
type Shape4 = readonly [number, number, number, number];

export interface ConvCase {
  readonly x: Shape4;
  readonly w: Shape4;
  readonly stride: number;
  readonly padding: number;
}

export function convOutput({ x, w, stride, padding }: ConvCase): Shape4 {
  const size = (input: number, kernel: number) => Math.floor((input + 2 * padding - kernel) / stride) + 1;
  return [x[0], size(x[1], w[0]), size(x[2], w[1]), w[3]];
}

/** The convolution, and the gradients of the sum of dy * y by x and w. */
export function convolution(
  c: ConvCase,
  x: Numbers,
  w: Numbers,
  dy: Numbers,
): { y: Numbers; dx: Numbers; dw: Numbers } {
  const [images, rows, columns, filters] = convOutput(c);
  const [, height, width, channels] = c.x;
  const y = new Float64Array(dy.length);
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  const tap = (output: number, input: number, weights: number) => {
    for (let i = 0; i < channels; i++) {
      for (let o = 0; o < filters; o++) {
        const at = weights + i * filters + o;
        y[output + o] += x[input + i] * w[at];
        dx[input + i] += dy[output + o] * w[at];
        dw[at] += x[input + i] * dy[output + o];
      }
    }
  };
  for (let n = 0; n < images; n++) {
    for (let p = 0; p < rows * columns; p++) {
      for (let t = 0; t < c.w[0] * c.w[1]; t++) {
        const row = Math.floor(p / columns) * c.stride - c.padding + Math.floor(t / c.w[1]);
        const column = (p % columns) * c.stride - c.padding + (t % c.w[1]);
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        tap(
          (n * rows * columns + p) * filters,
          ((n * height + row) * width + column) * channels,
          t * channels * filters,
        );
      }
    }
  }
  return { y, dx, dw };
}

/** Batch norm over rows in training mode, and the gradients of the sum of dy * y. */
export function batchNormalization(x: Numbers, gamma: Numbers, beta: Numbers, dy: Numbers, eps = 1e-5) {
  const channels = gamma.length;
  const rows = x.length / channels;
  const y = new Float64Array(x.length);
  const dx = new Float64Array(x.length);
  const dgamma = new Float64Array(channels);
  const dbeta = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const column = Array.from({ length: rows }, (_, r) => x[r * channels + c]);
    const mean = column.reduce((a, b) => a + b, 0) / rows;
    const variance = column.reduce((a, b) => a + (b - mean) ** 2, 0) / rows;
    const inverse = 1 / Math.sqrt(variance + eps);
    const normal = column.map((v) => (v - mean) * inverse);
    const g = normal.map((_, r) => dy[r * channels + c]);
    dbeta[c] = g.reduce((a, b) => a + b, 0);
    dgamma[c] = g.reduce((a, b, r) => a + b * normal[r], 0);
    normal.forEach((v, r) => {
      y[r * channels + c] = v * gamma[c] + beta[c];
      dx[r * channels + c] = gamma[c] * inverse * (g[r] - dbeta[c] / rows - (v * dgamma[c]) / rows);
    });
  }
  return { y, dx, dgamma, dbeta };
}

/** a [rows, inner] times b [inner, columns]. */
export function product(a: Numbers, b: Numbers, rows: number, columns: number): Numbers {
  const inner = a.length / rows;
  return Float64Array.from({ length: rows * columns }, (_, at) => {
    const [r, c] = [Math.floor(at / columns), at % columns];
    let total = 0;
    for (let k = 0; k < inner; k++) total += a[r * inner + k] * b[k * columns + c];
    return total;
  });
}

/** Mean cross entropy of logits [rows, classes], and its gradient. */
export function crossEntropy(logits: Numbers, labels: Int32Array): { loss: Numbers; gradient: Numbers } {
  const classes = logits.length / labels.length;
  const gradient = new Float64Array(logits.length);
  let loss = 0;
  labels.forEach((label, r) => {
    const row = logits.subarray(r * classes, (r + 1) * classes);
    const largest = Math.max(...row);
    const total = row.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    loss += (Math.log(total) + largest - row[label]) / labels.length;
    row.forEach((v, c) => {
      gradient[r * classes + c] = (Math.exp(v - largest) / total - Number(c === label)) / labels.length;
    });
  });
  return { loss: Float64Array.of(loss), gradient };
}
