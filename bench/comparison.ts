/** What the outcomes of a case mean beside each other: ratios, shares, errors and whether they are within their bounds. */
import { mebibytes, milliseconds, type Times } from "#src/cli/bench/timing.js";
import { percent } from "#src/text.js";
import { HALF_BOUNDS } from "#src/training/verify-model.js";
import type { Failure, Outcome } from "./compare.js";
import type { Work } from "./peer.js";
import type { Table } from "./report.js";
import { OURS, SYSTEMS } from "./systems.js";

/**
 * Largest relative error that counts as the same result. Systems of float32 differ by the order of their sums alone: here by 1e-6 at
 * most, in features as in the loss before any update. Where some arithmetic is in float16, those of `mpn verify` hold.
 */
export const BOUNDS = {
  float32: { features: 1e-4, loss: 1e-5 },
  float16: { features: HALF_BOUNDS.features, loss: HALF_BOUNDS.losses },
} as const;

/** A row of the comparison, for JSON. */
export interface Row extends Omit<Outcome, "features" | "times">, Times {
  readonly msPerImage: number;
  readonly gflops: number | null;
  readonly peakShare: number | null;
  /** Median time over this engine's. */
  readonly toOurs: number | null;
  /** Relative error against the first system of the case: of the features, or of the loss before any update. */
  readonly error: number | null;
  /** The largest error that counts as the same result, and whether it is exceeded or there is nothing to compare. */
  readonly bound: number;
  readonly wrong: boolean;
  /** The same of the losses of every step that both did. */
  readonly lossErrors?: readonly number[];
}

/** A kind of work at one batch. */
export interface Case {
  readonly work: Work;
  readonly batch: number;
  readonly rows: readonly (Row | Failure)[];
}

export function comparison(outcomes: readonly (Outcome | Failure)[], batch: number, peakGflops: number) {
  const done = outcomes.filter((o): o is Outcome => !("failed" in o));
  const reference = done[0];
  const ours = done.find(({ system }) => system === OURS);
  return outcomes.map((outcome): Row | Failure => {
    if ("failed" in outcome) return outcome;
    const { features, times, ...rest } = outcome;
    const gflops = ours?.flops ? ours.flops / times.medianMs / 1e6 : null;
    // Up to the last step that both did.
    const errors = rest.losses
      .slice(0, reference.losses.length)
      .map((loss, i) => Math.abs(loss - reference.losses[i]) / Math.abs(reference.losses[i]));
    const compared =
      (features ? reference.features && relativeError(features, reference.features) : errors[0]) ?? Number.NaN;
    const halves = SYSTEMS.some(({ name, halves }) => halves && (name === rest.system || name === reference.system));
    const bound = BOUNDS[halves ? "float16" : "float32"][features ? "features" : "loss"];
    // Against itself the reference is wrong where its values are no numbers.
    const within = compared <= bound;
    return {
      ...rest,
      ...times,
      msPerImage: times.medianMs / batch,
      gflops,
      peakShare: gflops && gflops / peakGflops,
      toOurs: ours ? times.medianMs / ours.times.medianMs : null,
      error: outcome === reference ? null : compared,
      bound,
      wrong: !within,
      ...(!features && { lossErrors: errors }),
    };
  });
}

export const fullTitle = ({ title, version }: Row) => (version ? `${title} ${version}` : title);

/** The comparison of one case as a table. */
export function comparisonTable(title: string, rows: readonly (Row | Failure)[]): Table {
  const seconds = (ms: number | null) => (ms === null ? "-" : (ms / 1000).toFixed(ms < 10_000 ? 2 : 1));
  const bytes = (count: number | null) => (count === null ? "-" : mebibytes(count));
  const head = [
    ...["", "first start s", "second", "first run s", "median ms", "min", "max", "runs", "CPU ms", "ms/image"],
    ...["to ours", "of peak", "relative error", "resident", "GPU buffers"],
  ];
  const lines = rows.map((row) => {
    if ("failed" in row) return [row.title, `failed: ${row.failed}`, ...Array(head.length - 2).fill("")];
    const [error = "none", ...later] = (row.lossErrors ?? [row.error ?? 0]).map((e) => e.toExponential(1));
    const wrong = row.wrong ? ` WRONG, bound ${row.bound.toExponential(0)}` : "";
    const after = later.length > 0 ? `, ${later.at(-1)} after ${later.length}` : "";
    return [
      fullTitle(row),
      `${seconds(row.firstStartMs)} (${row.firstStarts})`,
      seconds(row.secondStartMs) + (row.secondStarts > 0 ? ` (${row.secondStarts})` : ""),
      seconds(row.firstRunMs),
      ...[row.medianMs, row.minMs, row.maxMs].map(milliseconds),
      String(row.runs),
      row.cpuMs === null ? "-" : milliseconds(row.cpuMs),
      milliseconds(row.msPerImage),
      row.toOurs === null ? "-" : `${row.toOurs.toPrecision(3)} x`,
      row.peakShare === null ? "-" : percent(row.peakShare),
      (row.error === null ? "reference" : error + after) + wrong,
      bytes(row.peakBytes),
      bytes(row.gpuBytes),
    ];
  });
  return { title, rows: [head, ...lines] };
}

/** The greatest difference of two outputs over the greatest value of the second; Infinity where the lengths differ. */
export function relativeError(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (values.length !== reference.length) return Number.POSITIVE_INFINITY;
  let [difference, most] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    // NaN is carried along.
    difference = Math.max(difference, Math.abs(values[i] - reference[i]));
    most = Math.max(most, Math.abs(reference[i]));
  }
  return difference / most;
}
