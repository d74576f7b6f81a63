/** The frame of every page: one HTML file that holds its pictures, its charts and the code that draws them, and fetches nothing. */
import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.js";
import { inWords, writeAside } from "../formats/write-aside.js";
import type { Chart } from "./charts.js";
import type { ReportData } from "./data.js";
import { Html, html, jsonForScript, nothing } from "./html.js";
import { script } from "./script.js";
import { style } from "./style.js";

/**
 * Writes a page, aside and renamed; folders are made as needed.
 *
 * @throws UserError when the file cannot be written; one that was there stays as it was
 */
export async function writePage(path: string, page: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new UserError(`Cannot write ${path}: ${inWords(cause)}`, { cause });
  }
  await writeAside(path, page);
}

/** The text of a page. @param charts those that elements with `data-chart="<place in the list>"` show */
export async function renderPage(
  { title, subtitle, adapter }: Pick<ReportData, "title" | "subtitle" | "adapter">,
  sections: readonly Html[],
  charts: readonly Chart[] = [],
): Promise<string> {
  const drawn = charts.length > 0;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${title}</title>
<style>${drawn ? await packageText("uplot/dist/uPlot.min.css") : nothing}${new Html(style)}</style>
</head>
<body>
<main>
<header>
<h1>${title}</h1>
${subtitle === undefined ? nothing : html`<p class="muted">${subtitle}</p>`}
${adapterNote(adapter)}
</header>
${sections}
</main>
${
  drawn
    ? html`<script type="application/json" id="charts">${jsonForScript(charts)}</script>
<script>${await packageText("uplot/dist/uPlot.iife.min.js")}</script>
<script>${new Html(script)}</script>`
    : nothing
}
</body>
</html>
`;
  return page.text;
}

/** A file of an installed package, to be inlined as it is. */
const packageText = async (name: string) => new Html(await readFile(fileURLToPath(import.meta.resolve(name)), "utf8"));

/** A part of a page under its heading; nothing where there is nothing to show. */
export const section = (title: string, body: Html) =>
  body === nothing ? nothing : html`<section><h2>${title}</h2>${body}</section>`;

const adapterNote = ({ name, software }: ReportData["adapter"]) =>
  software
    ? html`<p class="warning" role="note"><strong>Software adapter: ${name}.</strong>
        No GPU took part. Rates are as on any adapter; times are those of a processor and say nothing about a GPU.</p>`
    : html`<p class="muted">Adapter: ${name}</p>`;
