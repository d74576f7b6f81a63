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

export const milliseconds = (ms: number) => ms.toFixed(ms < 10 ? 2 : ms < 1000 ? 1 : 0);
export const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
