/** Float64 references of the losses, as in the paper's equations. */
type Values = ArrayLike<number>;

/** -log softmax(logits)[label] of each row; 0 where the label is no class. */
export function crossEntropyRows(logits: Values, classes: number, labels: Values): number[] {
  return Array.from({ length: logits.length / classes }, (_, r) => {
    const row = Array.from({ length: classes }, (_, c) => logits[r * classes + c]);
    const label = labels[r % labels.length];
    if (label < 0 || label >= classes) return 0;
    const top = Math.max(...row);
    return top + Math.log(row.reduce((s, v) => s + Math.exp(v - top), 0)) - row[label];
  });
}

export const rows = (x: Values, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, r) => Array.from({ length: width }, (_, c) => x[r * width + c]));

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((s, v, i) => s + v * b[i], 0);
const norm = (a: readonly number[]) => Math.max(Math.sqrt(dot(a, a)), 1e-12);

export const cosineDistance = (a: readonly number[], b: readonly number[]) => 1 - dot(a, b) / (norm(a) * norm(b));

export const euclideanDistance = (a: readonly number[], b: readonly number[]) =>
  Math.hypot(...a.map((v, i) => v - b[i]));

export function batchHardTriplet(
  h: readonly number[][],
  labels: Values,
  margin: number,
  distance: (a: readonly number[], b: readonly number[]) => number = cosineDistance,
  average: "violating" | "all" = "violating",
): number {
  const hinges = h.map((anchor, i) => {
    let positive = Number.NEGATIVE_INFINITY;
    let negative = Number.POSITIVE_INFINITY;
    h.forEach((other, j) => {
      const d = distance(anchor, other);
      if (labels[j] !== labels[i]) negative = Math.min(negative, d);
      else if (j !== i) positive = Math.max(positive, d);
    });
    return Math.max(positive - negative + margin, 0);
  });
  const violating = Math.max(hinges.filter((v) => v > 0).length, 1);
  return hinges.reduce((a, b) => a + b, 0) / (average === "all" ? h.length : violating);
}

const meanOf = (list: readonly number[][]) =>
  list[0].map((_, d) => list.reduce((s, row) => s + row[d], 0) / list.length);

export function classMeans(h: readonly number[][], labels: Values): number[][] {
  return h.map((_, i) => meanOf(h.filter((_, j) => labels[j] === labels[i])));
}

export function classAlignment(h: readonly number[][], g: readonly number[][], labels: Values): number {
  const ids = [...new Set(Array.from(labels))];
  const distances = ids.map((id) => {
    const mine = (x: readonly number[][]) => meanOf(x.filter((_, j) => labels[j] === id));
    return cosineDistance(mine(h), mine(g));
  });
  return distances.reduce((a, b) => a + b, 0) / ids.length;
}
