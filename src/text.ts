/** How rates and tables are written, whoever writes them: terminal, Markdown and pages. */

/** A fraction in percent with one decimal; `unit` follows the number. */
export const percent = (fraction: number, unit = "%") => `${(100 * fraction).toFixed(1)}${unit}`;

/** A difference of two fractions in percentage points, with its sign. */
export const points = (change: number) => `${change < 0 ? "-" : "+"}${percent(Math.abs(change), "")}`;

/** Columns of text, the first `left` of them flush left, the others flush right. */
export function table(rows: readonly (readonly string[])[], left = 1, between = "  "): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join(between),
  );
}

/** The same as a table in Markdown. */
export function markdownTable(rows: readonly (readonly string[])[], left = 1): string[] {
  const rule = rows[0].map((_, column) => (column < left ? "---" : "---:"));
  const cell = (text: string) => text.replaceAll("|", "\\|");
  return [rows[0], rule, ...rows.slice(1)].map((row) => `| ${row.map(cell).join(" | ")} |`);
}
