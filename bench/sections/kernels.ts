/** Every operation of the training step beside the convolutions, by itself. */
import { benchKernel, kernelCases } from "#src/cli/bench/kernels.js";
import { hasTimestamps, milliseconds } from "#src/cli/bench/timing.js";
import { percent } from "#src/text.js";
import type { Context } from "../options.js";
import type { SectionReport } from "../report.js";
import { withoutAttention } from "./step.js";

export async function kernels(context: Context): Promise<SectionReport> {
  const { size, batches, rounds, peak, open, say } = context;
  const batch = Math.max(...batches.step);
  const device = await open();
  try {
    const cases = kernelCases(device, withoutAttention(context), batch).filter(({ op }) => !op.startsWith("conv2d"));
    const measured = [];
    for (const [i, kernel] of cases.entries()) {
      if (i % 20 === 0) say(`${i} of ${cases.length}`);
      const figures = await benchKernel(device, kernel, rounds);
      if (!figures) continue;
      const { op, shapes, count } = kernel;
      const { flops, bytes, ...times } = figures;
      const gbps = bytes / times.medianMs / 1e6;
      const gflops = flops / times.medianMs / 1e6;
      measured.push({ op, shapes, count, ...times, gbps, copyShare: gbps / peak.copyGbps, gflops });
    }
    measured.sort((a, b) => a.op.localeCompare(b.op) || b.count * b.medianMs - a.count * a.medianMs);
    return {
      title: `Other operations of the training step, batch ${batch}, images of ${size.join("x")}`,
      notes: [
        `Medians of ${rounds} runs; GB/s of the bytes that must be moved at least, and as a share of a copy's ${peak.copyGbps.toFixed(1)} GB/s, which data that stays in a cache can exceed.`,
        ...(hasTimestamps(device)
          ? []
          : ["The adapter has no timestamps: times are the clock's, submission included."]),
      ],
      tables: [
        {
          left: 2,
          rows: [
            ["", "shapes", "times", "median ms", "min", "max", "in all ms", "GB/s", "of copy"],
            ...measured.map((k) => [
              k.op,
              k.shapes,
              String(k.count),
              ...[k.medianMs, k.minMs, k.maxMs, k.count * k.medianMs].map(milliseconds),
              ...(k.gbps > 0 ? [k.gbps.toFixed(2), percent(k.copyShare)] : ["-", "-"]),
            ]),
          ],
        },
      ],
      data: { batch, size, timestamps: hasTimestamps(device), kernels: measured },
    };
  } finally {
    device.close();
  }
}
