/** Float64 reference of batch normalisation over rows of channels. */
type Values = ArrayLike<number>;

export interface Moments {
  readonly mean: Float64Array;
  /** Divided by the number of rows. */
  readonly biased: Float64Array;
  /** Divided by one less; by one where there is one row. */
  readonly unbiased: Float64Array;
}

export function moments(x: Values, channels: number): Moments {
  const rows = x.length / channels;
  const each = (f: (c: number) => number) => Float64Array.from({ length: channels }, (_, c) => f(c));
  const total = (c: number, f: (v: number) => number) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += f(x[r * channels + c]);
    return sum;
  };
  const mean = each((c) => total(c, (v) => v) / rows);
  const squares = each((c) => total(c, (v) => (v - mean[c]) ** 2));
  return { mean, biased: squares.map((v) => v / rows), unbiased: squares.map((v) => v / Math.max(rows - 1, 1)) };
}

export interface Affine {
  readonly gamma: Values;
  readonly beta: Values;
  readonly residual?: Values;
  readonly relu?: boolean;
}

/** gamma (x - mean) / sqrt(variance + 1e-5) + beta + residual, and ReLU. */
export function normalize(x: Values, mean: Values, variance: Values, a: Affine): Float64Array {
  const channels = mean.length;
  return Float64Array.from(x, (v, i) => {
    const c = i % channels;
    const y = (a.gamma[c] * (v - mean[c])) / Math.sqrt(variance[c] + 1e-5) + a.beta[c] + (a.residual?.[i] ?? 0);
    return a.relu ? Math.max(y, 0) : y;
  });
}
