/** Tables of an ablation: what every run gave, condensed over seeds, beside the paper's figures; as data and Markdown. */
import { markdownTable, percent, points } from "../text.js";
import { flatten } from "./charts.js";
import type { ReportData } from "./data.js";
import { type Paired, pairedDifference, type Spread, spreadOf } from "./statistics.js";

/** One network: a variant trained from one seed. */
export interface AblationRun {
  readonly variant: string;
  readonly seed: number;
  readonly adapter: string;
  readonly steps: number;
  readonly secondsPerStep: number;
  readonly evaluateSeconds: number;
  /** Fractions in 0..1 and counts, as `mpn evaluate` gives them; null where the run failed. */
  readonly metrics: Readonly<Record<Measure, number> & Record<string, number>> | null;
  /** Why there are no metrics, in words. */
  readonly failed: string | null;
}

export const MEASURES = { rank1: "Rank-1", mAP: "mAP", mAPTrapezoid: "mAP (trapezoid)" } as const;
export type Measure = keyof typeof MEASURES;

export interface AblationData extends Pick<ReportData, "title" | "subtitle" | "adapter" | "configuration"> {
  readonly dataset: string;
  /** What the reader of the results must know of the data, such as what could not be left out. */
  readonly notes?: readonly string[];
  readonly seeds: readonly number[];
  /** Runs that were asked for, done or not. */
  readonly planned: number;
  readonly runs: readonly AblationRun[];
  /** Titles of all variants that appear anywhere. */
  readonly variants: Readonly<Record<string, string>>;
  readonly tables: readonly {
    readonly id: string;
    readonly title: string;
    readonly note?: string;
    /** Of the paper's columns. */
    readonly databases: readonly string[];
    readonly rows: readonly { readonly variant: string; readonly label: string; readonly against: string }[];
    readonly curves?: readonly {
      readonly title: string;
      readonly weights: readonly number[];
      readonly variants: readonly string[];
      readonly references: readonly string[];
    }[];
  }[];
  /** The paper's figures in percent by variant and database, and the databases' names in the order of the columns. */
  readonly paper: Readonly<Record<string, Readonly<Record<string, readonly [rank1: number, mAP: number]>>>>;
  readonly databases: Readonly<Record<string, string>>;
  /** Pairs of which the paper finds the second better. */
  readonly order: readonly (readonly [worse: string, better: string])[];
}

type ByMeasure<T> = Readonly<Record<Measure, T>>;

export interface RowSummary {
  readonly variant: string;
  readonly label: string;
  /** Over the seeds that came to an end; null before there is one. */
  readonly results: ByMeasure<Spread | null>;
  readonly failed: number;
  /** This row less the one that the table sets it against; null for that one itself. */
  readonly against: { readonly variant: string; readonly difference: ByMeasure<Paired | null> } | null;
  /** This row less the one above. */
  readonly above: { readonly variant: string; readonly difference: ByMeasure<Paired | null> } | null;
  readonly paper: AblationData["paper"][string] | null;
}

export interface OrderSummary {
  readonly worse: string;
  readonly better: string;
  /** The better less the worse. */
  readonly difference: ByMeasure<Paired | null>;
  /** By the interval of mAP: it lies above zero, below zero, or around it. */
  readonly verdict: "as in the paper" | "the other way round" | "within the spread" | "one seed";
}

export interface AblationSummary {
  readonly tables: readonly { readonly id: string; readonly title: string; readonly rows: readonly RowSummary[] }[];
  readonly order: readonly OrderSummary[];
}

const byMeasure = <T>(of: (measure: Measure) => T) =>
  Object.fromEntries((Object.keys(MEASURES) as Measure[]).map((m) => [m, of(m)])) as Record<Measure, T>;

/** A measure of a variant by seed; failed runs are left out. */
export function resultsBySeed(runs: readonly AblationRun[], variant: string, measure: Measure): Map<number, number> {
  return new Map(
    runs.flatMap((run) => (run.variant === variant && run.metrics ? [[run.seed, run.metrics[measure]]] : [])),
  );
}

export function summarizeAblation({ runs, tables, paper, order }: AblationData): AblationSummary {
  const values = (variant: string, m: Measure) => resultsBySeed(runs, variant, m);
  const difference = (a: string, b: string) => byMeasure((m) => pairedDifference(values(a, m), values(b, m)));
  return {
    tables: tables.map(({ id, title, rows }) => ({
      id,
      title,
      rows: rows.map(({ variant, label, against }, i) => ({
        variant,
        label,
        results: byMeasure((m) => spreadOf([...values(variant, m).values()])),
        failed: runs.filter((run) => run.variant === variant && run.failed !== null).length,
        against: against === variant ? null : { variant: against, difference: difference(against, variant) },
        above: i === 0 ? null : { variant: rows[i - 1].variant, difference: difference(rows[i - 1].variant, variant) },
        paper: paper[variant] ?? null,
      })),
    })),
    order: order.flatMap(([worse, better]): OrderSummary[] => {
      const paired = difference(worse, better);
      return paired.mAP ? [{ worse, better, difference: paired, verdict: verdictOf(paired.mAP) }] : [];
    }),
  };
}

function verdictOf({ low, high }: Paired): OrderSummary["verdict"] {
  if (low === null || high === null) return "one seed";
  if (low > 0) return "as in the paper";
  return high < 0 ? "the other way round" : "within the spread";
}

/** A table in words; Markdown and HTML write the same cells. */
export interface Grid {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const figure = (fraction: number) => percent(fraction, "");

function spreadText(spread: Spread | null, failed: number): string {
  if (!spread) return failed > 0 ? "failed" : "not yet";
  return spread.sd === null ? figure(spread.mean) : `${figure(spread.mean)} ± ${figure(spread.sd)}`;
}

function pairedText(paired: Paired | null | undefined): string {
  if (!paired) return "";
  const { mean, low, high } = paired;
  return low === null || high === null ? points(mean) : `${points(mean)} [${points(low)}, ${points(high)}]`;
}

export function tableGrid(data: AblationData, place: number, rows: readonly RowSummary[]): Grid {
  const columns = data.tables[place].databases;
  const measures = Object.keys(MEASURES) as Measure[];
  return {
    head: [
      "Variant",
      ...Object.values(MEASURES),
      "Seeds",
      "mAP less reference",
      "mAP less row above",
      ...columns.map((key) => `Paper, ${data.databases[key]}`),
    ],
    rows: rows.map(({ label, results, failed, against, above, paper }) => [
      label,
      ...measures.map((m) => spreadText(results[m], failed)),
      `${results.mAP?.n ?? 0}${failed > 0 ? ` (${failed} failed)` : ""}`,
      against ? pairedText(against.difference.mAP) : "reference",
      pairedText(above?.difference.mAP),
      ...columns.map((key) => paper?.[key]?.map((value) => value.toFixed(1)).join(" / ") ?? ""),
    ]),
  };
}

export function orderGrid({ variants }: AblationData, order: readonly OrderSummary[]): Grid {
  return {
    head: ["The paper finds", "Rank-1 difference", "mAP difference", "Seeds that agree (mAP)", "Here"],
    rows: order.map(({ worse, better, difference, verdict }) => [
      `${variants[worse]} < ${variants[better]}`,
      pairedText(difference.rank1),
      pairedText(difference.mAP),
      `${difference.mAP?.wins} of ${difference.mAP?.n}`,
      verdict,
    ]),
  };
}

/** What the figures are, once for all tables. */
export const EXPLANATION =
  "Percent, mean ± standard deviation (n - 1) over seeds. A seed decides initial values, batches and augmentation for all " +
  "variants alike, so differences are taken seed by seed: their mean, and in brackets its 95% interval (Student's t). " +
  "mAP is the step definition (torchreid), the paper's is the trapezoid one. Paper: Rank-1 / mAP.";

export function runsText({ runs, planned, seeds, dataset }: AblationData): string {
  const failed = runs.filter((run) => run.failed !== null).length;
  const steps = [...new Set(runs.filter((run) => run.metrics).map((run) => run.steps))].join(", ");
  return (
    `${dataset}; ${runs.length} of ${planned} runs done${failed > 0 ? `, ${failed} of them failed` : ""}` +
    `${steps ? `, ${steps} steps each` : ""}; seeds ${seeds.join(", ")}.`
  );
}

export const failures = ({ runs, variants }: AblationData) =>
  runs.flatMap(({ variant, seed, failed }) =>
    failed === null ? [] : [`${variants[variant]}, seed ${seed}: ${failed}`],
  );

export function ablationMarkdown(data: AblationData, summary: AblationSummary): string {
  const grid = ({ head, rows }: Grid) => markdownTable([head, ...rows]).join("\n");
  const parts = [
    `# ${data.title}`,
    runsText(data),
    ...(data.notes ?? []),
    `Adapter: ${data.adapter.name}. ${EXPLANATION}`,
  ];
  for (const [i, { title, rows }] of summary.tables.entries()) {
    parts.push(`## ${title}`, grid(tableGrid(data, i, rows)));
    const { note } = data.tables[i];
    if (note) parts.push(note);
  }
  if (summary.order.length > 0) parts.push("## The paper's order", grid(orderGrid(data, summary.order)));
  const failed = failures(data);
  if (failed.length > 0) parts.push("## Failed runs", failed.map((text) => `- ${text}`).join("\n"));
  const settings = flatten(data.configuration).map(([key, value]) => `- ${key}: ${JSON.stringify(value)}`);
  parts.push("## Settings in common", settings.join("\n"));
  return `${parts.join("\n\n")}\n`;
}
