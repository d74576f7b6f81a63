/** The recorded training step of MPN: its pipelines and objects, the CPU's part in it, and where the GPU's time goes. */
import { type Mode, runOnce, taken, workload } from "#src/cli/bench/model.js";
import { mebibytes, milliseconds, summarize } from "#src/cli/bench/timing.js";
import type { Device } from "#src/gpu/device.js";
import { Program, type Values } from "#src/graph/program.js";
import type { ModelConfig } from "#src/models/config.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { percent } from "#src/text.js";
import { modelConfigOf } from "#src/training/config.js";
import { loadConfig } from "#src/training/load-config.js";
import { IDENTITIES } from "../case-files.js";
import type { Context, Settings } from "../options.js";
import type { SectionReport, Table } from "../report.js";

/** Recordings of a sample of CPU time, which the system counts in steps of milliseconds. */
const RECORDINGS = 20;
const SAMPLES = 15;

export interface Recording {
  readonly dispatches: number;
  readonly pipelines: number;
  /** GPU objects that the steps after the first one made. */
  readonly objectsMade: number;
  /** CPU time of recording one step into a command buffer, without submitting it. */
  readonly cpuMs: ReturnType<typeof summarize>;
}

/** Records, but does not submit, many steps; the first step must have run. */
export async function measureRecording(device: Device, program: Program): Promise<Recording["cpuMs"]> {
  const samples: number[] = [];
  for (let i = 0; i <= SAMPLES; i++) {
    // Command buffers that were dropped are collected between the samples.
    await device.idle();
    const before = process.cpuUsage();
    for (let k = 0; k < RECORDINGS; k++) {
      const encoder = device.gpu.createCommandEncoder();
      program.encode(encoder);
      encoder.finish();
    }
    const { user, system } = process.cpuUsage(before);
    if (i > 0) samples.push((user + system) / 1000 / RECORDINGS);
  }
  return summarize(samples);
}

/** MPN without channel attention at the paper's settings, as the comparison has it. */
export function withoutAttention({ size, set }: Pick<Settings, "size" | "set">): ModelConfig {
  const config = loadConfig({ preset: "paper", set: ["channelAttention=false", `imageSize=[${size}]`, ...set] });
  return modelConfigOf(config, IDENTITIES);
}

interface ShaderFigures {
  readonly shader: string;
  readonly count: number;
  readonly ms: number;
  readonly timeShare: number;
  readonly gflops: number;
  readonly peakShare: number;
  readonly gbps: number;
  readonly copyShare: number;
}

/** Where the GPU's time goes: each shader, and all of them; no time where the adapter has no timestamps. */
async function profileOf(
  program: Program,
  feeds: Readonly<Record<string, Values>>,
  { gflops, copyGbps }: Context["peak"],
) {
  const profile = (await program.profile(feeds)).byShader();
  const sum = (of: "count" | "ms" | "flops" | "bytes") => profile.reduce((all, shader) => all + shader[of], 0);
  const dispatchMs = sum("ms");
  type Shader = Omit<(typeof profile)[number], "label">;
  const figuresOf = ({ shader, count, ms, flops, bytes }: Shader): ShaderFigures => ({
    shader,
    count,
    ms,
    timeShare: dispatchMs > 0 ? ms / dispatchMs : 0,
    gflops: flops / ms / 1e6,
    peakShare: flops / ms / 1e6 / gflops,
    gbps: bytes / ms / 1e6,
    copyShare: bytes / ms / 1e6 / copyGbps,
  });
  const whole = {
    shader: "all of them",
    count: sum("count"),
    ms: dispatchMs,
    flops: sum("flops"),
    bytes: sum("bytes"),
  };
  return { dispatchMs, shaders: profile.map(figuresOf), whole: figuresOf(whole) };
}

function profileTables(title: string, { dispatchMs, shaders, whole }: Awaited<ReturnType<typeof profileOf>>): Table[] {
  if (dispatchMs === 0) return [];
  const line = (s: ShaderFigures) => [
    s.shader,
    String(s.count),
    milliseconds(s.ms),
    percent(s.timeShare),
    ...(s.gflops > 0 ? [s.gflops.toFixed(2), percent(s.peakShare)] : ["-", "-"]),
    ...(s.gbps > 0 ? [s.gbps.toFixed(2), percent(s.copyShare)] : ["-", "-"]),
  ];
  return [
    {
      title: `${title}: ${milliseconds(dispatchMs)} ms of dispatches by shader`,
      rows: [
        ["", "dispatches", "ms", "of time", "GFLOP/s", "of peak", "GB/s", "of copy"],
        ...[...shaders, whole].map(line),
      ],
    },
  ];
}

export async function step(context: Context): Promise<SectionReport> {
  const { size, peak, say } = context;
  const batch = Math.max(...context.batches.step);
  const inferBatch = Math.min(...context.batches.infer);
  const device = await context.open();
  const config = withoutAttention(context);
  const compiled = async (store: ParameterStore, mode: Mode, batch: number) => {
    const { graph, values } = workload(store, { config, mode, batch });
    store.allocate(device, 0);
    const program = await Program.compile(device, { ...graph, batch });
    const feeds = taken(program, values());
    await runOnce(program, feeds, graph.outputs);
    return { program, feeds, outputs: graph.outputs };
  };
  const stores = [new ParameterStore(), new ParameterStore()];
  try {
    say("first step");
    const { program, feeds, outputs } = await compiled(stores[0], "train", batch);
    const before = device.objectsMade;
    say("two more");
    for (let i = 0; i < 2; i++) await runOnce(program, feeds, outputs);
    const objectsMade = device.objectsMade - before;
    say("recording");
    const cpuMs = await measureRecording(device, program);
    const { dispatches, pipelines } = program;
    const recording: Recording = { dispatches, pipelines, objectsMade, cpuMs };
    say("profile");
    const training = await profileOf(program, feeds, peak);
    const { peakBufferBytes: gpuBytes } = device;
    program.destroy();
    say("profile of an inference");
    const { program: inferring, feeds: images } = await compiled(stores[1], "infer", inferBatch);
    const inference = await profileOf(inferring, images, peak);
    inferring.destroy();
    return {
      title: `The training step, batch ${batch}, images of ${size.join("x")}`,
      notes: [
        `CPU time: Program.encode and finish alone, ${SAMPLES} samples of ${RECORDINGS} recordings; this process's threads, so those of the adapter's driver too.`,
        ...(training.dispatchMs > 0 ? [] : ["The adapter has no timestamps: no profile."]),
      ],
      tables: [
        {
          rows: [
            ["", "value"],
            ["dispatches", String(dispatches)],
            ["pipelines", String(pipelines)],
            ["GPU objects made after the first step", String(objectsMade)],
            [
              "CPU ms to record a step, median (least to most)",
              `${milliseconds(cpuMs.medianMs)} (${milliseconds(cpuMs.minMs)} to ${milliseconds(cpuMs.maxMs)})`,
            ],
            ["GPU buffers, most at once", mebibytes(gpuBytes)],
          ],
        },
        ...profileTables("the step", training),
        ...profileTables(`an inference, batch ${inferBatch}`, inference),
      ],
      data: { batch, size, ...recording, gpuBytes, ...training, inference: { batch: inferBatch, ...inference } },
    };
  } finally {
    for (const store of stores) store.destroy(device);
    device.close();
  }
}
