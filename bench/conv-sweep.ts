/**
 * Every convolution shape of ResNet-50 at 384 x 128 (last stride 1) in billions of operations per second of the adapter's
 * work, on a software adapter of CPU time, and as a share of the peak measured the same way in the same process (conv-shapes.ts).
 * `node --import tsx bench/conv-sweep.ts [batch] [runs] [text that the name contains]`; least time of all runs, shapes
 * interleaved.
 */
import { Device } from "#src/gpu/device.js";
import { KINDS, summaryOf, sweep } from "./conv-shapes.js";

const [batch, runs, filter] = [Number(process.argv[2] ?? 1), Number(process.argv[3] ?? 3), process.argv[4] ?? ""];
const device = await Device.open();
const { peakGflops, figures } = await sweep(device, { batch, runs, filter });
console.log(
  `batch ${batch}, peak ${peakGflops.toFixed(1)} GFLOP a second; compiled in ${device.kernels.compileMs.toFixed(0)} ms`,
);
for (const kind of KINDS.filter((k) => figures.some((f) => f.kind === k))) {
  for (const f of figures.filter((f) => f.kind === kind)) {
    const gflops = (f.bestShare * peakGflops).toFixed(2).padStart(8);
    console.log(`${kind.padEnd(3)}${f.name.padEnd(30)}${gflops}${(100 * f.bestShare).toFixed(1).padStart(7)}%`);
  }
  const { median, least, ms } = summaryOf(figures, kind, "bestShare");
  const shares = `median ${(100 * median).toFixed(1)}%, least ${(100 * least).toFixed(1)}%`;
  console.log(`${kind}: ${shares}, ${(ms / 1000).toFixed(2)} s in all\n`);
}
device.close();
