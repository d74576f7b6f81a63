/** The page of an ablation: its tables, a plot of every run beside each, and Fig. 9's curves. */
import {
  type AblationData,
  type AblationSummary,
  EXPLANATION,
  failures,
  type Grid,
  MEASURES,
  type Measure,
  orderGrid,
  type RowSummary,
  resultsBySeed,
  runsText,
  tableGrid,
} from "./ablation.js";
import type { Chart } from "./charts.js";
import { type Html, html, nothing } from "./html.js";
import { renderPage, section } from "./page.js";
import { settings } from "./report.js";
import { spreadOf } from "./statistics.js";

/** What is plotted; the other definition of mAP moves with the first. */
const PLOTTED = ["rank1", "mAP"] as const satisfies Measure[];

export async function renderAblationPage(data: AblationData, summary: AblationSummary): Promise<string> {
  const charts: Chart[] = [];
  const plot = (chart: Chart) =>
    html`<div class="card"><h3>${chart.title}</h3><div class="chart" data-chart="${charts.push(chart) - 1}"></div></div>`;
  const failed = failures(data);
  return renderPage(
    data,
    [
      html`${[runsText(data), ...(data.notes ?? []), EXPLANATION].map((text) => html`<p class="muted">${text}</p>`)}`,
      ...summary.tables.map(({ title, rows }, i) => {
        const { note, curves = [] } = data.tables[i];
        return section(
          title,
          html`${gridTable(tableGrid(data, i, rows))}
            ${note === undefined ? nothing : html`<p class="muted note">${note}</p>`}
            <div class="grid plots">${PLOTTED.map((measure) => dotPlot(data, rows, measure))}
            ${curves.map((curve) => plot(weightChart(data, curve)))}</div>`,
        );
      }),
      section("The paper's order", summary.order.length > 0 ? gridTable(orderGrid(data, summary.order)) : nothing),
      section(
        "Failed runs",
        failed.length > 0 ? html`<ul class="card">${failed.map((text) => html`<li>${text}</li>`)}</ul>` : nothing,
      ),
      section("Settings in common", settings(data.configuration)),
    ],
    charts,
  );
}

function gridTable({ head, rows }: Grid): Html {
  return html`<div class="card"><div class="scroll"><table class="wide">
    <thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
    <tbody>${rows.map(([first, ...rest]) => html`<tr><th scope="row">${first}</th>${rest.map((text) => html`<td>${text}</td>`)}</tr>`)}</tbody>
    </table></div></div>`;
}

type Curve = NonNullable<AblationData["tables"][number]["curves"]>[number];

/** Fig. 9: rates over the weight of soft sharing, the references as level lines. */
function weightChart({ runs, variants }: AblationData, { title, weights, variants: line, references }: Curve): Chart {
  const mean = (name: string, measure: Measure) =>
    spreadOf([...resultsBySeed(runs, name, measure).values()])?.mean ?? null;
  const series = PLOTTED.flatMap((measure) => [
    { label: `soft sharing, ${MEASURES[measure]}`, values: line.map((name) => mean(name, measure)) },
    ...references.map((name) => {
      const level = mean(name, measure);
      return { label: `${variants[name]}, ${MEASURES[measure]}`, values: weights.map(() => level), dashed: true };
    }),
  ]);
  const x = weights.map((_, i) => i);
  return { title, xLabel: "weight of the L2 loss", unit: "percent", x, xNames: weights.map(String), series };
}

/** Places in the plot's own units, which the page scales. */
const PLOT = { width: 560, labels: 210, right: 16, row: 26, top: 8, bottom: 26 };

/** A line for each row: a dot for every seed, a tick at the mean, a bar of one standard deviation to both sides. */
function dotPlot(data: AblationData, rows: readonly RowSummary[], measure: Measure): Html {
  const lines = rows.map(({ variant, label, results }) => {
    return { label, spread: results[measure], values: [...resultsBySeed(data.runs, variant, measure).values()] };
  });
  const all = lines.flatMap(({ values, spread }) =>
    spread ? [...values, spread.mean - (spread.sd ?? 0), spread.mean + (spread.sd ?? 0)] : [],
  );
  if (all.length === 0) return nothing;
  const ticks = axisTicks(Math.max(0, Math.min(...all)), Math.min(1, Math.max(...all)));
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const inner = PLOT.width - PLOT.labels - PLOT.right;
  const place = (value: number) =>
    (PLOT.labels + Math.min(Math.max((value - low) / (high - low), 0), 1) * inner).toFixed(1);
  const bottom = PLOT.top + lines.length * PLOT.row;
  return html`<div class="card"><h3>${MEASURES[measure]}: a dot for each seed, mean and standard deviation</h3>
    <svg class="dots" viewBox="0 0 ${PLOT.width} ${bottom + PLOT.bottom}" role="img" aria-label="${MEASURES[measure]} of each variant">
    ${ticks.map(
      (tick) => html`<line class="rule" x1="${place(tick)}" x2="${place(tick)}" y1="${PLOT.top}" y2="${bottom}"/>
      <text class="tick" x="${place(tick)}" y="${bottom + 17}" text-anchor="middle">${Number((100 * tick).toFixed(1))} %</text>`,
    )}
    ${lines.map(({ label, spread, values }, i) => {
      const y = PLOT.top + (i + 0.5) * PLOT.row;
      const bar =
        spread &&
        html`<line class="bar" x1="${place(spread.mean - (spread.sd ?? 0))}" x2="${place(spread.mean + (spread.sd ?? 0))}" y1="${y}" y2="${y}"/>
        <line class="mean" x1="${place(spread.mean)}" x2="${place(spread.mean)}" y1="${y - 7}" y2="${y + 7}"/>`;
      return html`<text x="${PLOT.labels - 10}" y="${y + 4}" text-anchor="end">${label}</text>${bar ?? nothing}
        ${values.map((value) => html`<circle cx="${place(value)}" cy="${y}" r="3.5"/>`)}`;
    })}
    </svg></div>`;
}

/** About five round places that enclose a range of fractions. */
function axisTicks(low: number, high: number): number[] {
  const step = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2].find((s) => (high - low) / s <= 5) ?? 0.2;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}
