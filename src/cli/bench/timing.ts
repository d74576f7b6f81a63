/** Times of programs, and how figures are written. */
import type { Device } from "../../gpu/device.js";
import type { Program, Values } from "../../graph/program.js";

export interface Times {
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** Median, least and most of at least one time. */
export function summarize(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  const medianMs = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
  return { medianMs, minMs: sorted[0], maxMs: sorted[sorted.length - 1] };
}

/** Whether the adapter can time a dispatch. */
export function hasTimestamps(device: Device): boolean {
  return device.gpu.features.has("timestamp-query");
}

/** Milliseconds that the GPU is busy with each of `runs` runs, by timestamps; by the clock where there are none. */
export async function gpuTimes(
  device: Device,
  program: Program,
  feeds: Readonly<Record<string, Values>>,
  runs: number,
): Promise<number[]> {
  program.feed(feeds);
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    if (hasTimestamps(device)) {
      const { rows } = await program.profile();
      times.push(rows.reduce((sum, row) => sum + row.ms, 0));
    } else {
      const started = performance.now();
      await program.run();
      await device.idle();
      times.push(performance.now() - started);
    }
  }
  return times;
}

/** Columns of text, the first `left` of them flush left, the others flush right. */
export function table(rows: readonly (readonly string[])[], left = 1): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join("  "),
  );
}

/** The same as a table in Markdown. */
export function markdownTable(rows: readonly (readonly string[])[], left = 1): string[] {
  const rule = rows[0].map((_, column) => (column < left ? "---" : "---:"));
  return [rows[0], rule, ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |`);
}

export const milliseconds = (ms: number) => ms.toFixed(ms < 10 ? 2 : ms < 1000 ? 1 : 0);
export const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
export const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
