/** ResNet-50's convolutions at 384 x 128 with a last stride of 1, forward and both gradients, each by itself. */
import { fmaPeakGraphs } from "#src/cli/bench/peak.js";
import { gpuTimes, summarize, type Times } from "#src/cli/bench/timing.js";
import type { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { input, type Tensor } from "#src/graph/tensor.js";
import { conv2d } from "#src/ops/index.js";

/** Input height, width, channels; filters, kernel, stride. */
const SHAPES = [
  [384, 128, 3, 64, 7, 2],
  [96, 32, 64, 64, 1, 1],
  [96, 32, 64, 64, 3, 1],
  [96, 32, 64, 256, 1, 1],
  [96, 32, 256, 64, 1, 1],
  [96, 32, 256, 128, 1, 1],
  [96, 32, 128, 128, 3, 2],
  [96, 32, 256, 512, 1, 2],
  [48, 16, 128, 512, 1, 1],
  [48, 16, 512, 128, 1, 1],
  [48, 16, 128, 128, 3, 1],
  [48, 16, 512, 256, 1, 1],
  [48, 16, 256, 256, 3, 2],
  [48, 16, 512, 1024, 1, 2],
  [24, 8, 256, 1024, 1, 1],
  [24, 8, 1024, 256, 1, 1],
  [24, 8, 256, 256, 3, 1],
  [24, 8, 1024, 512, 1, 1],
  [24, 8, 512, 512, 3, 1],
  [24, 8, 512, 2048, 1, 1],
  [24, 8, 1024, 2048, 1, 1],
  [24, 8, 2048, 512, 1, 1],
] as const;

/** Forward, input gradient, weight gradient. */
export const KINDS = ["y", "dx", "dw"] as const;
export type Kind = (typeof KINDS)[number];

/** Times are milliseconds of the adapter's work; of a software adapter, of CPU time. */
export interface Figures extends Times {
  readonly name: string;
  readonly kind: Kind;
  readonly flops: number;
  /** Share of the peak, at the median and at the least time. */
  readonly share: number;
  readonly bestShare: number;
  /** By the clock: the median in milliseconds, and its share of the peak that the clock gives. */
  readonly clockMs: number;
  readonly clockShare: number;
}

export interface Sweep {
  /** Billions of operations a second, measured the same way; of a software adapter, a second of CPU time. */
  readonly peakGflops: number;
  /** The same a second by the clock. */
  readonly clockGflops: number;
  readonly figures: readonly Figures[];
}

export interface SweepOptions {
  readonly batch: number;
  /** Runs of each shape after the first one. */
  readonly runs: number;
  /** Only shapes whose name contains this. */
  readonly filter?: string;
  readonly onRound?: (round: number) => void;
}

/** Compiles all and runs them in turns. */
export async function sweep(device: Device, { batch, runs, filter = "", onRound }: SweepOptions): Promise<Sweep> {
  const cases: { name: string; kind: Kind | null; program: Program; ms: number[]; clock: number[] }[] = [];
  const add = async (name: string, kind: Kind | null, y: Tensor) => {
    cases.push({ name, kind, program: await Program.compile(device, { outputs: { y } }), ms: [], clock: [] });
  };
  for (const y of fmaPeakGraphs(device.profile.software)) await add("peak", null, y);
  for (const [height, width, channels, filters, kernel, stride] of SHAPES) {
    const name = `${kernel}x${kernel}/${stride} ${height}x${width} ${channels} to ${filters}`;
    if (!name.includes(filter)) continue;
    const x = input("x", [batch, height, width, channels]);
    const w = input("w", [kernel, kernel, channels, filters]);
    const y = conv2d(x, w, { stride, padding: (kernel - 1) / 2 });
    // The op's own gradient, so that no other dispatch counts: a loss would first have to be multiplied out.
    const [dx, dw] = y.node!.op.gradient!(y.node!, [input("dy", y.shape)]);
    await add(name, "y", y);
    // Nobody needs the gradient of the images.
    if (channels > 3) await add(name, "dx", dx!);
    await add(name, "dw", dw!);
  }
  try {
    for (let run = 0; run <= runs; run++) {
      onRound?.(run);
      for (const c of cases) {
        const { ms, clock } = await busyMs(device, c.program);
        // The first run finds cold caches and pages that no one has touched yet.
        if (run === 0) continue;
        c.ms.push(ms);
        c.clock.push(clock);
      }
    }
    const rate = (flops: number, ms: number) => flops / ms / 1e6;
    const peaks = cases.filter(({ kind }) => kind === null);
    const best = (of: "ms" | "clock") => Math.max(...peaks.map((c) => rate(c.program.flops, Math.min(...c[of]))));
    const [peakGflops, clockGflops] = [best("ms"), best("clock")];
    const figures = cases.flatMap(({ name, kind, program: { flops }, ms, clock }): Figures[] => {
      if (kind === null) return [];
      const times = summarize(ms);
      const share = (of: number) => rate(flops, of) / peakGflops;
      const { medianMs: clockMs } = summarize(clock);
      const clockShare = rate(flops, clockMs) / clockGflops;
      return [
        {
          name,
          kind,
          flops,
          ...times,
          share: share(times.medianMs),
          bestShare: share(times.minMs),
          clockMs,
          clockShare,
        },
      ];
    });
    return { peakGflops, clockGflops, figures };
  } finally {
    for (const { program } of cases) program.destroy();
  }
}

/**
 * On a software adapter the threads that compute are this process's, so that other programs on the machine disturb their CPU
 * time less than the clock.
 */
async function busyMs(device: Device, program: Program): Promise<{ ms: number; clock: number }> {
  if (!device.profile.software) {
    const [ms] = await gpuTimes(device, program, {}, 1);
    return { ms, clock: ms };
  }
  const [before, started] = [process.cpuUsage(), performance.now()];
  await program.run();
  await device.idle();
  const clock = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { ms: (user + system) / 1000, clock };
}

/** Median and least of the shapes' shares of one kind, and the milliseconds of all of them once. */
export function summaryOf(
  figures: readonly Figures[],
  kind: Kind,
  share: "share" | "bestShare" | "clockShare" = "share",
) {
  const own = figures.filter((f) => f.kind === kind);
  const { medianMs: median, minMs: least } = summarize(own.map((f) => f[share]));
  const times = { share: "medianMs", bestShare: "minMs", clockShare: "clockMs" } as const;
  const ms = own.reduce((total, f) => total + f[times[share]], 0);
  return { kind, median, least, ms };
}
