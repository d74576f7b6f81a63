/** The report of a run or an evaluation. */
import { percent, points } from "../text.js";
import { type Chart, cmcChart, flatten, trainingCharts } from "./charts.js";
import type { Evaluation, RankedListData, ReportData, Timing } from "./data.js";
import { type Html, html, nothing } from "./html.js";
import { renderPage, section, writePage } from "./page.js";
import { MARK_STROKES, thumbnail } from "./pictures.js";

/**
 * Writes a report as one self-contained HTML file; folders are made as needed.
 *
 * @throws UserError when the file cannot be written
 */
export async function writeReport(path: string, data: ReportData): Promise<void> {
  await writePage(path, await renderReport(data));
}

/** The text of the page. */
export async function renderReport(data: ReportData): Promise<string> {
  const charts: Chart[] = [];
  const plot = (chart: Chart) =>
    html`<div class="card"><h3>${chart.title}</h3><div class="chart" data-chart="${charts.push(chart) - 1}"></div></div>`;

  const sections = [
    data.evaluations.length ? results(data.evaluations, plot, data.notes) : nothing,
    data.otherDatasets?.length ? otherDatasets(data.otherDatasets) : nothing,
    data.rankedLists.length ? await rankedLists(data.rankedLists) : nothing,
    section(
      "Training",
      data.metrics.length ? html`<div class="grid">${trainingCharts(data.metrics).map(plot)}</div>` : nothing,
    ),
    section("Dataset and time", html`<div class="grid">${dataset(data.dataset)}${timings(data.timings)}</div>`),
    section("Configuration", settings(data.configuration)),
  ];
  return renderPage(data, sections, charts);
}

/** As pages write it. */
const rate = (fraction: number) => percent(fraction, " %");

/** Rows of the table of results. The two definitions of mAP differ by up to some percent, so both are named. */
const MEASURES = [
  { key: "rank1", name: "Rank-1" },
  { key: "rank5", name: "Rank-5" },
  { key: "rank10", name: "Rank-10" },
  { key: "rank20", name: "Rank-20" },
  { key: "mAP", name: "mAP (step: torchreid, fast-reid)" },
  { key: "mAPTrapezoid", name: "mAP (trapezoid: original Market-1501 code)" },
] as const;

function results(
  evaluations: readonly Evaluation[],
  plot: (chart: Chart) => Html,
  notes: readonly string[] = [],
): Html {
  const stages = evaluations.filter(({ aside }) => !aside);
  const [first, last] = [stages[0], stages[stages.length - 1]];
  const compared = stages.length > 1;
  const figures = (["rank1", "rank5", "mAP", "mAPTrapezoid"] as const).map(
    (
      key,
    ) => html`<div class="card"><dt>${MEASURES.find((measure) => measure.key === key)!.name.replace(/:.*/, ")")}</dt>
      <dd>${rate(last[key])}<small>${compared ? `${first.label}: ${rate(first[key])}` : last.label}</small></dd></div>`,
  );
  const rows = MEASURES.map(
    ({
      key,
      name,
    }) => html`<tr><th scope="row">${name}</th>${evaluations.map((one) => html`<td>${rate(one[key])}</td>`)}
      ${compared ? html`<td>${points(last[key] - first[key])}</td>` : nothing}</tr>`,
  );
  const counts = html`<p class="muted">${last.queries} queries counted, ${last.skipped} skipped for want of a right gallery image.
    Gallery images of the query's own camera and junk are left out.</p>${notes.map((note) => html`<p>${note}</p>`)}`;
  return html`<dl class="figures">${figures}</dl>
    ${section(
      "Retrieval",
      html`<div class="grid"><div class="card"><div class="scroll"><table>
        <thead><tr><th scope="col">Measure</th>${evaluations.map(({ label }) => html`<th scope="col">${label}</th>`)}
        ${compared ? html`<th scope="col">Change</th>` : nothing}</tr></thead>
        <tbody>${rows}</tbody></table></div>${counts}</div>${plot(cmcChart(evaluations))}</div>`,
    )}`;
}

/** Cross-database: a row for each dataset. */
function otherDatasets(evaluations: NonNullable<ReportData["otherDatasets"]>): Html {
  const rows = evaluations.map(
    (one) => html`<tr><th scope="row">${one.label}</th>${MEASURES.map(({ key }) => html`<td>${rate(one[key])}</td>`)}
      <td>${one.queries}</td></tr>`,
  );
  const notes = evaluations.flatMap(({ label, notes }) => notes.map((note) => html`<p>${label}: ${note}</p>`));
  return section(
    "Other datasets",
    html`<div class="card"><p class="muted">Evaluated on as they are: nothing was trained or tuned on them.</p>
      <div class="scroll"><table><thead><tr><th scope="col">Dataset</th>${MEASURES.map(({ name }) => html`<th scope="col">${name}</th>`)}
      <th scope="col">Queries</th></tr></thead><tbody>${rows}</tbody></table></div>${notes}</div>`,
  );
}

async function rankedLists(lists: readonly RankedListData[]): Promise<Html> {
  const cards = await Promise.all(
    lists.map(async ({ query, matches, caption }) => {
      const items = matches.map(async (match, i) => {
        const kind = match.right ? "right" : "wrong";
        return html`<li class="${kind}" title="${match.label}"><div class="shot">${await image(match, `${i + 1}, ${kind}: ${match.label}`)}
          <svg viewBox="0 0 16 16" aria-hidden="true"><path d="${MARK_STROKES[kind]}"/></svg></div>${match.similarity.toFixed(3)}</li>`;
      });
      return html`<div class="card ranked">${caption === undefined ? nothing : html`<h3>${caption}</h3>`}
        <ol><li title="${query.label}"><div class="shot">${await image(query, `query: ${query.label}`)}</div>query</li>
        ${await Promise.all(items)}</ol></div>`;
    }),
  );
  return section(
    "Ranked lists",
    html`<p class="legend muted"><span><b class="query">blue</b> the query</span>
      <span><b class="right">green, check mark</b> the same person</span>
      <span><b class="wrong">red, cross</b> somebody else</span><span>number: cosine similarity</span></p>${cards}`,
  );
}

async function image(picture: RankedListData["query"], description: string): Promise<Html> {
  const source = await thumbnail(picture);
  return source === undefined ? html`<span>cannot be read</span>` : html`<img src="${source}" alt="${description}">`;
}

function dataset({ name, subsets }: ReportData["dataset"]): Html {
  const rows = subsets.map(
    ({ subset, people, images, cameras }) =>
      html`<tr><th scope="row">${subset}</th><td>${people}</td><td>${images}</td>
        <td>${cameras === 0 && images > 0 ? "unknown" : cameras}</td></tr>`,
  );
  return html`<div class="card"><h3>${name}</h3><div class="scroll"><table>
    <thead><tr><th scope="col">Subset</th><th scope="col">People</th><th scope="col">Images</th><th scope="col">Cameras</th></tr></thead>
    <tbody>${rows}</tbody></table></div></div>`;
}

function timings(entries: readonly Timing[]): Html {
  if (entries.length === 0) return nothing;
  const rows = entries.map(
    ({ name, milliseconds, note }) =>
      html`<tr><th scope="row">${name}${note === undefined ? nothing : html`<div class="muted">${note}</div>`}</th>
        <td>${duration(milliseconds)}</td></tr>`,
  );
  return html`<div class="card"><h3>Time</h3><table><tbody>${rows}</tbody></table></div>`;
}

/** 0.52 ms, 31.4 ms, 4.2 s, 3 min 05 s, 2 h 07 min. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Number(milliseconds.toPrecision(3))} ms`;
  if (milliseconds < 59_950) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`
    : `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} min`;
}

/** Settings by name, in columns. */
export function settings(configuration: ReportData["configuration"]): Html {
  const entries = flatten(configuration).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return nothing;
  const write = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value ?? "none"));
  return html`<dl class="card settings">${entries.map(([key, value]) => html`<div><dt>${key}</dt><dd>${write(value)}</dd></div>`)}</dl>`;
}
