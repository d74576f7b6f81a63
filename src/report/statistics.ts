/** Spread over seeds, and differences of runs that share their seed. */

/** @property sd standard deviation with n - 1; null for a single value */
export interface Spread {
  readonly n: number;
  readonly mean: number;
  readonly sd: number | null;
}

/** Differences b - a of paired runs, with a 95% interval of their mean (Student's t; null for a single pair). */
export interface Paired extends Spread {
  readonly low: number | null;
  readonly high: number | null;
  /** Pairs in which b is larger. */
  readonly wins: number;
}

/** @returns null without values */
export function spreadOf(values: readonly number[]): Spread | null {
  const n = values.length;
  if (n === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { n, mean, sd: n > 1 ? Math.sqrt(squares / (n - 1)) : null };
}

/** Of the seeds that both have. @returns null where there is none */
export function pairedDifference(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): Paired | null {
  const differences = [...b].flatMap(([seed, value]) => {
    const other = a.get(seed);
    return other === undefined ? [] : [value - other];
  });
  const spread = spreadOf(differences);
  if (!spread) return null;
  const wins = differences.filter((difference) => difference > 0).length;
  const half = spread.sd === null ? null : (studentT975(spread.n - 1) * spread.sd) / Math.sqrt(spread.n);
  return {
    ...spread,
    wins,
    low: half === null ? null : spread.mean - half,
    high: half === null ? null : spread.mean + half,
  };
}

/** The 97.5% quantile of Student's t: exact where few degrees of freedom leave the expansion off by more than 1e-3. */
export function studentT975(freedom: number): number {
  const exact = [12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.306];
  if (freedom <= exact.length) return exact[freedom - 1];
  // Cornish-Fisher expansion about the normal quantile.
  const z = 1.959964;
  return (
    z +
    (z ** 3 + z) / (4 * freedom) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3)
  );
}
