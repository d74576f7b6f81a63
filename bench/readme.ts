/**
 * The speed table of the README, from what `npm run bench -- --json` printed: `node --import tsx bench/readme.ts [file]` writes it
 * there, from bench/lavapipe.json unless told otherwise.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { markdownTable } from "#src/text.js";
import { type Case, fullTitle, type Row } from "./comparison.js";
import { OURS } from "./systems.js";

export const README = fileURLToPath(new URL("../README.md", import.meta.url));
export const DATA = fileURLToPath(new URL("./lavapipe.json", import.meta.url));
const [BEGIN, END] = ["<!-- speed: from bench/lavapipe.json by bench/readme.ts -->", "<!-- speed: end -->"];

const isRow = (row: Case["rows"][number]): row is Row => !("failed" in row);

/** Seconds with two digits, of those below a tenth one. */
function seconds(ms: number | null): string {
  if (ms === null) return "-";
  const s = ms / 1000;
  return `${s < 0.1 ? s.toPrecision(1) : s < 100 ? s.toPrecision(s < 10 ? 2 : 3) : s.toFixed(0)} s`;
}

const ratio = (toOurs: number | null) => (toOurs === null ? "-" : toOurs.toPrecision(toOurs < 1 ? 2 : 3));

/** The table, head and all: inference at every batch, the starts at the smallest one, the training step that all can do. */
export function speedTable(cases: readonly Case[]): string[] {
  const infer = cases.filter(({ work }) => work === "infer").sort((a, b) => a.batch - b.batch);
  const train = cases.find(({ work }) => work === "train");
  const rows = infer[0].rows.filter(isRow);
  /** Time and ratio of a system in a case, or what is said where it has none. */
  const cells = (c: Case | undefined, system: string, none: readonly string[]) => {
    const found = c?.rows.filter(isRow).find((row) => row.system === system);
    return found ? [seconds(found.medianMs), system === OURS ? "1" : ratio(found.toOurs)] : none;
  };
  const head = [
    "",
    ...infer.flatMap(({ batch }, i) => [i === 0 ? `inference, batch ${batch}` : `batch ${batch}`, "to ours"]),
    ...["first start", "second start", `training step, batch ${train?.batch}`, "to ours"],
  ];
  const lines = rows.map((row) => [
    fullTitle(row),
    ...infer.flatMap((c) => cells(c, row.system, ["-", "-"])),
    seconds(row.firstStartMs),
    seconds(row.secondStartMs),
    ...cells(train, row.system, ["cannot train", ""]),
  ]);
  return markdownTable([head, ...lines]);
}

/** The README with the table in its place. */
export function withTable(readme: string, table: readonly string[]): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README.md lacks the lines ${BEGIN} and ${END}`);
  return `${readme.slice(0, begin)}${BEGIN}\n\n${table.join("\n")}\n\n${readme.slice(end)}`;
}

export const casesOf = (file: string): Case[] => JSON.parse(readFileSync(file, "utf8")).sections.models.cases;

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(README, withTable(readFileSync(README, "utf8"), speedTable(casesOf(process.argv[2] ?? DATA))));
