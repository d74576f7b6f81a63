/** `metrics.jsonl`: one JSON object a line, appended; a resumed run first drops what its checkpoint does not know of. */
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

export interface MetricsRow {
  /** Steps done, this one included. */
  readonly step: number;
  readonly epoch: number;
  readonly lr?: number;
  readonly loss?: Readonly<Record<string, number>>;
  readonly imagesPerSecond?: number;
  readonly [other: string]: unknown;
}

export class MetricsLog {
  constructor(readonly path: string) {}

  append(row: MetricsRow): void {
    appendFileSync(this.path, `${JSON.stringify(row)}\n`);
  }

  /** All rows; a last line cut off by a kill is dropped. */
  read(): MetricsRow[] {
    if (!existsSync(this.path)) return [];
    return readFileSync(this.path, "utf8")
      .split("\n")
      .flatMap((line) => {
        try {
          return line ? [JSON.parse(line) as MetricsRow] : [];
        } catch {
          return [];
        }
      });
  }

  /** Forgets rows after `step`. */
  rewind(step: number): void {
    const kept = this.read().filter((row) => row.step <= step);
    const aside = `${this.path}.tmp`;
    writeFileSync(aside, kept.map((row) => `${JSON.stringify(row)}\n`).join(""));
    renameSync(aside, this.path);
  }
}
