/** What a section of `npm run bench` finds, as text, as Markdown and as data. */
import { markdownTable, table } from "#src/text.js";

export interface Table {
  readonly title?: string;
  /** The first row is the head. */
  readonly rows: readonly (readonly string[])[];
  /** Columns that are flush left; 1 by default. */
  readonly left?: number;
}

export interface SectionReport {
  readonly title: string;
  /** How it was measured, and what to keep in mind. */
  readonly notes: readonly string[];
  readonly tables: readonly Table[];
  /** What must not be, a sentence each: repeated at the end of the report, whose exit code is then 1. */
  readonly wrong?: readonly string[];
  /** The same and more, for `--json`. */
  readonly data: object;
}

/** Whether this engine's kernels are chosen as they were tuned. */
export const tunedNote = (count: number): string =>
  count > 0
    ? `This engine's kernels are those that \`mpn tune\` found on this adapter, for ${count} problems.`
    : "Nothing was tuned: this engine's kernels are the built-in choices.";

/** Lines of a section, an empty one at its end. */
export function render({ title, notes, tables }: SectionReport, markdown: boolean): string[] {
  const lines = [markdown ? `## ${title}` : title.toUpperCase(), ""];
  for (const note of notes) lines.push(markdown ? `- ${note}` : note);
  if (notes.length > 0) lines.push("");
  for (const { title: caption, rows, left } of tables) {
    if (caption) lines.push(markdown ? `### ${caption}` : caption, ...(markdown ? [""] : []));
    lines.push(...(markdown ? markdownTable : table)(rows, left), "");
  }
  return lines;
}
