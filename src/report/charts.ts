/** The report's line charts as data; `script.ts` draws them in the page. */
import type { Evaluation, MetricsRow } from "./data.js";

export interface Chart {
  title: string;
  xLabel: string;
  /** How values are written: as they are, or as percentages of a fraction. */
  unit: "plain" | "percent";
  logarithmic?: boolean;
  x: number[];
  /** Names of the places 0, 1, 2 ... on the x axis, instead of numbers; the y axis then fits the values. */
  xNames?: string[];
  /** One value for each x; null leaves a gap. */
  series: { label: string; values: (number | null)[]; dashed?: boolean }[];
}

/** More points than a chart has pixels only make the page heavy; rows beyond are averaged in groups. */
const MAX_POINTS = 1000;

/** CMC curves of all evaluations, as far as the shortest of them; all but the last stage's are dashed. */
export function cmcChart(evaluations: readonly Evaluation[]): Chart {
  const last = evaluations.filter(({ aside }) => !aside).at(-1);
  const ranks = Math.min(...evaluations.map(({ cmc }) => cmc.length));
  return {
    title: "CMC",
    xLabel: "rank",
    unit: "percent",
    x: Array.from({ length: ranks }, (_, rank) => rank + 1),
    series: evaluations.map((one) => ({
      label: one.label,
      values: Array.from(one.cmc).slice(0, ranks),
      dashed: one !== last,
    })),
  };
}

/**
 * Losses and learning rate over the steps, and Rank-1 and mAP over the epochs, from the rows of metrics.jsonl. Charts
 * without data are left out.
 */
export function trainingCharts(rows: readonly MetricsRow[]): Chart[] {
  const all = rows.map((row) => Object.fromEntries(flatten(row))).filter(({ step }) => typeof step === "number");
  const evaluated = all.filter((row) => "evaluation.rank1" in row);
  const flat = all.filter((row) => !("evaluation.rank1" in row));
  const names = [...new Set(flat.flatMap(Object.keys))];
  const losses = names.filter((name) => name === "loss" || name.startsWith("loss."));
  const group = Math.max(1, Math.ceil(flat.length / MAX_POINTS));
  const chart = (title: string, keys: string[]): Chart => ({
    title: group > 1 ? `${title} (each point the mean of ${group} rows)` : title,
    xLabel: "step",
    unit: "plain",
    x: groupMeans(flat, "step", group).map(Number),
    series: keys.map((key) => ({ label: key.replace(/^loss\./, ""), values: groupMeans(flat, key, group) })),
  });
  const rate = chart("Learning rate", names.includes("lr") ? ["lr"] : []);
  // A schedule falls by factors of ten; only one that starts from or ends at zero has no logarithm.
  rate.logarithmic = rate.series.every(({ values }) => values.every((value) => value === null || value > 0));
  const measures = [
    ["Rank-1", "evaluation.rank1"],
    ["mAP", "evaluation.mAP"],
  ];
  const retrieval: Chart = {
    title: "Rank-1 and mAP over epochs",
    xLabel: "epoch",
    unit: "percent",
    x: evaluated.map(({ epoch }) => Number(epoch)),
    // One evaluation is a point, and the tables have it.
    series:
      evaluated.length < 2 ? [] : measures.map(([label, key]) => ({ label, values: groupMeans(evaluated, key, 1) })),
  };
  return [chart("Losses", losses), rate, retrieval].filter(({ series }) => series.length > 0);
}

/** Means of `key` over groups of consecutive rows; null where no row of a group has a finite value. */
function groupMeans(rows: readonly Record<string, unknown>[], key: string, group: number): (number | null)[] {
  return Array.from({ length: Math.ceil(rows.length / group) }, (_, i) => {
    const values = rows
      .slice(i * group, (i + 1) * group)
      .map((row) => row[key])
      .filter((value): value is number => Number.isFinite(value));
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  });
}

/** Leaves of nested plain objects, their names joined with dots; arrays are leaves. */
export function flatten(values: Readonly<Record<string, unknown>>, prefix = ""): [string, unknown][] {
  return Object.entries(values).flatMap(([key, value]): [string, unknown][] =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? flatten(value as Record<string, unknown>, `${prefix}${key}.`)
      : [[prefix + key, value]],
  );
}
