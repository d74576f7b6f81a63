/** GPU time per dispatch, by timestamp queries: one pass per dispatch, so only for profiling. */
import type { Device } from "../gpu/device.js";
import type { PlacedLaunch } from "./lowering.js";

export interface ProfileRow {
  readonly label: string;
  readonly shader: string;
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
}

const MAX_QUERIES = 4096;

export class Profile {
  rows: ProfileRow[] = [];
  private readonly sets: GPUQuerySet[] = [];
  private readonly perSet = MAX_QUERIES / 2;

  constructor(
    private readonly device: Device,
    private readonly dispatches: number,
  ) {
    if (!device.gpu.features.has("timestamp-query")) return;
    for (let at = 0; at < dispatches; at += this.perSet) {
      const count = 2 * Math.min(this.perSet, dispatches - at);
      this.sets.push(device.gpu.createQuerySet({ type: "timestamp", count }));
    }
  }

  timestamps(i: number): GPUComputePassTimestampWrites | undefined {
    const querySet = this.sets[Math.floor(i / this.perSet)];
    const at = 2 * (i % this.perSet);
    return querySet && { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }

  async finish(encoder: GPUCommandEncoder, launches: readonly PlacedLaunch[]): Promise<this> {
    const bytes = this.dispatches * 16;
    const resolved = this.device.buffer("timestamps", bytes, 0x200 | 0x4);
    const staging = this.device.buffer("timestamps readback", bytes, 0x1 | 0x8);
    this.sets.forEach((set, i) => {
      encoder.resolveQuerySet(set, 0, set.count, resolved, i * MAX_QUERIES * 8);
    });
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    this.device.gpu.queue.submit([encoder.finish()]);
    await this.device.wait(staging.mapAsync(0x1));
    const ticks = new BigUint64Array(staging.getMappedRange().slice(0, bytes));
    this.rows = launches.map((l, i) => ({
      label: l.label,
      shader: l.kernel.shader,
      ms: Number(ticks[2 * i + 1] - ticks[2 * i]) / 1e6,
      flops: l.flops ?? 0,
      bytes: l.bytes ?? 0,
    }));
    for (const b of [resolved, staging]) this.device.release(b);
    for (const s of this.sets) s.destroy();
    this.device.check("profiling");
    return this;
  }

  /** Time and work summed by shader, longest first. */
  byShader(): (ProfileRow & { count: number })[] {
    const sums = new Map<
      string,
      { label: string; shader: string; ms: number; flops: number; bytes: number; count: number }
    >();
    for (const row of this.rows) {
      const sum = sums.get(row.shader);
      if (!sum) sums.set(row.shader, { ...row, label: row.shader, count: 1 });
      else {
        sum.ms += row.ms;
        sum.flops += row.flops;
        sum.bytes += row.bytes;
        sum.count++;
      }
    }
    return [...sums.values()].sort((a, b) => b.ms - a.ms);
  }
}
