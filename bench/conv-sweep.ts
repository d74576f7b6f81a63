/**
 * Every convolution shape of ResNet-50 at 384 x 128 (last stride 1) in billions of operations per second of CPU time, and as
 * a share of the peak measured the same way in the same process: on a software adapter the threads that compute are this
 * process's, so that other programs on the machine disturb this less than the clock. `node --import tsx bench/conv-sweep.ts
 * [batch] [runs] [text that the name contains]`; least time of all runs, shapes interleaved.
 */
import { fmaPeakGraphs } from "#src/cli/bench/peak.js";
import { Device } from "#src/gpu/device.js";
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

interface Case {
  readonly name: string;
  readonly kind: string;
  readonly program: Program;
  seconds: number;
}

async function cpuSeconds(device: Device, program: Program): Promise<number> {
  const before = process.cpuUsage();
  await program.run();
  await device.idle();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const [batch, runs, text] = [Number(process.argv[2] ?? 1), Number(process.argv[3] ?? 3), process.argv[4] ?? ""];
const device = await Device.open();
const cases: Case[] = [];
const add = async (name: string, kind: string, y: Tensor) => {
  cases.push({
    name,
    kind,
    program: await Program.compile(device, { outputs: { y } }),
    seconds: Number.POSITIVE_INFINITY,
  });
};
for (const y of fmaPeakGraphs(device.profile.software)) await add("peak", "", y);
for (const [height, width, channels, filters, kernel, stride] of SHAPES) {
  const name = `${kernel}x${kernel}/${stride} ${height}x${width} ${channels} to ${filters}`;
  if (!name.includes(text)) continue;
  const x = input("x", [batch, height, width, channels]);
  const w = input("w", [kernel, kernel, channels, filters]);
  const y = conv2d(x, w, { stride, padding: (kernel - 1) / 2 });
  // The op's own gradient, so that no other dispatch counts: a loss would first have to be multiplied out.
  const [dx, dw] = y.node!.op.gradient!(y.node!, [input("dy", y.shape)]);
  await add(name, "y", y);
  if (channels > 3) await add(name, "dx", dx!);
  await add(name, "dw", dw!);
}
for (let run = 0; run <= runs; run++) {
  for (const c of cases) {
    const seconds = await cpuSeconds(device, c.program);
    if (run > 0) c.seconds = Math.min(c.seconds, seconds);
  }
}
const rate = ({ program, seconds }: Case) => program.flops / seconds / 1e9;
const peak = Math.max(...cases.filter((c) => c.name === "peak").map(rate));
console.log(
  `batch ${batch}, peak ${peak.toFixed(1)} GFLOP a CPU second; compiled in ${device.kernels.compileMs.toFixed(0)} ms`,
);
for (const kind of ["y", "dx", "dw"]) {
  const shares = cases.filter((c) => c.kind === kind).map((c) => ({ ...c, share: rate(c) / peak }));
  for (const c of shares)
    console.log(
      `${kind.padEnd(3)}${c.name.padEnd(30)}${rate(c).toFixed(2).padStart(8)}${(100 * c.share).toFixed(1).padStart(7)}%`,
    );
  const sorted = shares.map((s) => s.share).sort((a, b) => a - b);
  const seconds = shares.reduce((total, c) => total + c.seconds, 0);
  console.log(
    `${kind}: median ${(100 * sorted[sorted.length >> 1]).toFixed(1)}%, least ${(100 * sorted[0]).toFixed(1)}%, ${seconds.toFixed(2)} s in all\n`,
  );
}
device.close();
