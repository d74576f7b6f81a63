/**
 * The speed tables of the README, from what `npm run bench -- --json` printed on each adapter (bench/lavapipe.json, bench/h200.json):
 * `node --import tsx bench/readme.ts` writes them there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { markdownTable } from "#src/text.js";
import { type Case, fullTitle, type Row } from "./comparison.js";
import { OURS } from "./systems.js";

export const README = fileURLToPath(new URL("../README.md", import.meta.url));
/** What was measured, a table for each. */
export const DATA = ["lavapipe.json", "h200.json"] as const;
const begin = (data: string) => `<!-- speed: from bench/${data} by bench/readme.ts -->`;
const END = "<!-- speed: end -->";

const isRow = (row: Case["rows"][number]): row is Row => !("failed" in row);

/** Milliseconds below a tenth of a second, with three digits; else seconds with two, from ten on with three. */
function duration(ms: number | null): string {
  if (ms === null) return "-";
  if (ms < 100) return `${ms.toPrecision(3)} ms`;
  const s = ms / 1000;
  return `${s < 100 ? s.toPrecision(s < 10 ? 2 : 3) : s.toFixed(0)} s`;
}

const ratio = (toOurs: number | null) => (toOurs === null ? "-" : toOurs.toPrecision(toOurs < 1 ? 2 : 3));

/** The table, head and all: inference at every batch, the starts at the smallest one, the training step that all can do where there is one. */
export function speedTable(cases: readonly Case[]): string[] {
  const infer = cases.filter(({ work }) => work === "infer").sort((a, b) => a.batch - b.batch);
  const train = cases.find(({ work }) => work === "train");
  const rows = infer[0].rows.filter(isRow);
  /** Time and ratio of a system in a case, or what is said where it has none. */
  const cells = (c: Case | undefined, system: string, none: readonly string[]) => {
    const found = c?.rows.filter(isRow).find((row) => row.system === system);
    return found ? [duration(found.medianMs), system === OURS ? "1" : ratio(found.toOurs)] : none;
  };
  const restarted = rows.some(({ secondStartMs }) => secondStartMs !== null);
  const head = [
    "",
    ...infer.flatMap(({ batch }, i) => [i === 0 ? `inference, batch ${batch}` : `batch ${batch}`, "to ours"]),
    ...["first start", ...(restarted ? ["second start"] : [])],
    ...(train ? [`training step, batch ${train.batch}`, "to ours"] : []),
  ];
  const lines = rows.map((row) => [
    fullTitle(row),
    ...infer.flatMap((c) => cells(c, row.system, ["-", "-"])),
    duration(row.firstStartMs),
    ...(restarted ? [duration(row.secondStartMs)] : []),
    ...(train ? cells(train, row.system, ["cannot train", ""]) : []),
  ]);
  return markdownTable([head, ...lines]);
}

export const casesOf = (data: string): Case[] =>
  JSON.parse(readFileSync(fileURLToPath(new URL(data, import.meta.url)), "utf8")).sections.models.cases;

/** The README with the tables in their places. */
export function withTables(readme: string): string {
  let text = readme;
  for (const data of DATA) {
    const at = text.indexOf(begin(data));
    const end = text.indexOf(END, at);
    if (at < 0 || end < 0) throw new Error(`README.md lacks the lines ${begin(data)} and ${END}`);
    text = `${text.slice(0, at)}${begin(data)}\n\n${speedTable(casesOf(data)).join("\n")}\n\n${text.slice(end)}`;
  }
  return text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(README, withTables(readFileSync(README, "utf8")));
