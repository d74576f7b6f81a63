/** What the adapter can do at best: multiply-adds by pure arithmetic, and bytes by a plain copy. */
import type { Device } from "../../gpu/device.js";
import { Program } from "../../graph/program.js";
import { apply, input, type Op, type Tensor } from "../../graph/tensor.js";
import { scale } from "../../ops/index.js";
import { flat } from "../../ops/lanes.js";
import { gpuTimes } from "./timing.js";

export interface Peak {
  /** Billions of multiplications and additions a second. */
  readonly gflops: number;
  /** Billions of bytes read and written a second. */
  readonly copyGbps: number;
}

interface FmaPeakAttrs {
  readonly elem: 1 | 4;
  readonly chains: number;
  readonly invocations: number;
  readonly iterations: number;
}

const fmaPeakOp: Op<FmaPeakAttrs> = {
  name: "fmaPeak",
  outputs: (_, { elem, invocations }) => [{ shape: [invocations, elem] }],
  lower({ outputs: [y], attrs: { elem, chains, invocations, iterations } }, to) {
    to.dispatch({
      kernel: { shader: "fma_peak", defines: { ELEM: elem, CHAINS: chains } },
      bindings: { y },
      // The chains run towards 2: neither overflow nor denormal numbers slow them.
      params: { size: invocations, iterations, factor: 0.5, term: 1 },
      workgroups: flat(invocations),
      flops: 16 * elem * chains * iterations * invocations,
      bytes: y.bytes,
    });
  },
};

/**
 * Chains enough to hide the latency of an addition, few enough to stay in registers: which number that is differs
 * between adapters, so several are tried.
 */
const VARIANTS = [
  { elem: 1, chains: 8 },
  { elem: 1, chains: 12 },
  { elem: 4, chains: 2 },
  { elem: 4, chains: 4 },
] as const;

/** The graphs that measure the peak of multiply-adds. */
export function fmaPeakGraphs(software: boolean): Tensor[] {
  // About 10 ms of work: 0.5 GFLOP on a software adapter, 200 GFLOP on a GPU.
  const [invocations, flops] = software ? [4096, 5e8] : [2 ** 20, 2e11];
  return VARIANTS.map(({ elem, chains }) => {
    const iterations = Math.ceil(flops / (16 * elem * chains * invocations));
    return apply(fmaPeakOp, [], { elem, chains, invocations, iterations })[0];
  });
}

/** Measures; the best of `runs` runs of each variant, as anything else that the machine does only takes away. */
export async function measurePeak(device: Device, runs = 5): Promise<Peak> {
  const { software } = device.profile;
  let gflops = 0;
  for (const y of fmaPeakGraphs(software)) {
    const program = await Program.compile(device, { outputs: { y } });
    const times = await gpuTimes(device, program, {}, runs + 1);
    gflops = Math.max(gflops, program.flops / Math.min(...times) / 1e6);
    program.destroy();
  }
  const x = input("x", [software ? 2 ** 23 : 2 ** 25]);
  const program = await Program.compile(device, { outputs: { y: scale(x, 2) } });
  const times = await gpuTimes(device, program, {}, runs + 1);
  program.destroy();
  return { gflops, copyGbps: (2 * x.bytes) / Math.min(...times) / 1e6 };
}

/** The better of two measurements, of each figure. */
export function better(a: Peak, b: Peak): Peak {
  return { gflops: Math.max(a.gflops, b.gflops), copyGbps: Math.max(a.copyGbps, b.copyGbps) };
}
