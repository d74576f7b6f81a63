/** A page of attention maps: what each classifier of several models looks at, picture by picture. */
import {
  type AttentionFigure,
  type AttentionRow,
  COLOUR_GRADIENT,
  cellPicture,
  dataUri,
  overlay,
} from "./attention.js";
import type { ReportData } from "./data.js";
import { type Html, html } from "./html.js";
import { renderPage, section } from "./page.js";

/** Height in pixels of a picture: about twice that at which the page shows it. */
const HEIGHT = 384;

/** Pictures beside each other at most. */
const COLUMNS = 11;

export interface AttentionPageData extends Pick<ReportData, "title" | "subtitle" | "adapter"> {
  /** Which class the maps are of, as a sentence. */
  readonly shown: string;
  /** The models in the order of the rows; `facts` are the table's columns. */
  readonly models: readonly { readonly label: string; readonly facts: readonly (string | number)[] }[];
  /** Headings of the facts. */
  readonly facts: readonly string[];
  readonly figures: readonly AttentionFigure[];
}

export async function renderAttentionPage(data: AttentionPageData): Promise<string> {
  const cards = [];
  for (const figure of data.figures) cards.push(await card(figure));
  const rows = data.models.map(
    ({ label, facts }) => html`<tr><th scope="row">${label}</th>${facts.map((fact) => html`<td>${fact}</td>`)}</tr>`,
  );
  return renderPage(data, [
    html`<p class="legend muted"><span>Grad-CAM of each classifier: how much a place speaks for a person.</span>
      <span>${data.shown}</span><span>Below it: the person, and the classifier's probability.</span><span>none <i class="scale" style="background: ${COLOUR_GRADIENT}"></i> the most in this map</span></p>`,
    ...cards,
    section(
      "Models",
      html`<div class="card"><div class="scroll"><table><thead><tr><th scope="col">Model</th>
        ${data.facts.map((fact) => html`<th scope="col">${fact}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div></div>`,
    ),
  ]);
}

async function card({ label, image, rows }: AttentionFigure): Promise<Html> {
  const picture = await cellPicture(image, HEIGHT);
  const plain = await dataUri(picture);
  const cell = (source: string, title: string, caption: readonly string[]) =>
    html`<figure><img src="${source}" alt="${title}" width="${picture.width}" height="${picture.height}">
      <figcaption>${title}${caption.map((line) => html`<br>${line}`)}</figcaption></figure>`;
  const row = async ({ label: model, cells }: AttentionRow) => {
    const maps = cells.map(async (one) => cell(await dataUri(overlay(picture, one)), one.title, one.caption));
    return html`<h3>${model}</h3><div class="maps" style="--columns: ${Math.min(COLUMNS, cells.length + 1)}">${cell(plain, "picture", [])}${await Promise.all(maps)}</div>`;
  };
  return html`<section><h2>${label}</h2><div class="card">${await Promise.all(rows.map(row))}</div></section>`;
}
