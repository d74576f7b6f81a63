/** One model, one batch: time of an inference or of a whole training step, work done, memory against the plan. */
import type { Device, DeviceProfile } from "../../gpu/device.js";
import { fuse } from "../../graph/passes.js";
import type { ProfileRow } from "../../graph/profile.js";
import { Program, type Values } from "../../graph/program.js";
import type { Precision } from "../../graph/storage.js";
import { input } from "../../graph/tensor.js";
import { featureSize, type ModelConfig } from "../../models/config.js";
import { modelOf } from "../../models/index.js";
import { Build } from "../../nn/layers.js";
import { ParameterStore } from "../../nn/parameters.js";
import { seededRng, uniform } from "../../random.js";
import { halves, lossScalingOf } from "../../training/loss-scale.js";
import { partLabels, trainingStep } from "../../training/step.js";
import { summarize, type Times } from "./timing.js";

export type Mode = "infer" | "train";

export interface ModelCase {
  readonly config: ModelConfig;
  readonly mode: Mode;
  readonly batch: number;
  /** How feature maps are stored; "float32" by default. */
  readonly precision?: Precision;
  /** Of the device, whose matrix units may decide whether the loss is scaled; as without units where it is left out. */
  readonly profile?: DeviceProfile;
}

export interface ModelFigures extends Times {
  /** From the empty device to the first result: compilation, memory and the first run. */
  readonly firstMs: number;
  readonly runs: number;
  /** Until the inputs have reached the device, where all other times begin. */
  readonly uploadMs: number;
  /** Of a run when the next ones are submitted before its results are read, as by a trainer and by `mpn extract`. */
  readonly inRowMs: number;
  /** Multiplications and additions of a run that the ops count: convolutions, products, crop-resize. */
  readonly flops: number;
  readonly dispatches: number;
  readonly pipelines: number;
  /** The most bytes of GPU buffers that were alive at once. */
  readonly gpuBytes: number;
  /** What the plan predicts: parameters, momenta and statistics, inputs, constants, intermediates. */
  readonly plannedBytes: number;
  readonly intermediateBytes: number;
  /** Intermediates alive at the worst moment: no plan can need less. */
  readonly liveBytes: number;
  /** Time by shader, longest first, where a profile was asked for. */
  readonly profile?: readonly (ProfileRow & { readonly count: number })[];
}

/** Runs whose results are on their way while the next one is submitted. */
const IN_FLIGHT = 2;

/** Milliseconds of each of so many runs with what was fed last, some of them always in flight. */
async function timeInRow(program: Program, outputs: readonly string[], runs: number): Promise<number> {
  const started = performance.now();
  const pending: Promise<unknown>[] = [];
  for (let i = 0; i < runs; i++) {
    pending.push(program.run({}, outputs));
    if (pending.length > IN_FLIGHT) await pending.shift();
  }
  await Promise.all(pending);
  return (performance.now() - started) / runs;
}

/** Runs a case on a device of its own, closed after it, so that nothing compiled or allocated for another one counts. */
export async function benchModel(device: Device, given: ModelCase, runs: number, profile: boolean) {
  const { batch, precision } = given;
  const store = new ParameterStore();
  const { graph, values, lossScale } = workload(store, { ...given, profile: device.profile });
  try {
    store.allocate(device, 0);
    lossScale?.allocate(device);
    await device.idle();
    const started = performance.now();
    const program = await Program.compile(device, { ...graph, precision, batch });
    const feeds = taken(program, values());
    await runOnce(program, feeds, graph.outputs);
    const firstMs = performance.now() - started;
    const uploads: number[] = [];
    const times: number[] = [];
    for (let i = 0; i < runs; i++) {
      const before = performance.now();
      program.feed(feeds);
      // What is written waits for the next submission.
      device.gpu.queue.submit([]);
      await device.idle();
      const fed = performance.now();
      await runOnce(program, {}, graph.outputs);
      uploads.push(fed - before);
      times.push(performance.now() - fed);
    }
    const inRowMs = await timeInRow(program, Object.keys(graph.outputs), runs);
    const gpuBytes = device.peakBufferBytes;
    const { intermediates, live, inputs, constants, variables } = program.memory;
    const figures: ModelFigures = {
      firstMs,
      ...summarize(times),
      uploadMs: summarize(uploads).medianMs,
      inRowMs,
      runs,
      flops: program.flops,
      dispatches: program.dispatches,
      pipelines: program.pipelines,
      gpuBytes,
      plannedBytes: intermediates + inputs + constants + variables,
      intermediateBytes: intermediates,
      liveBytes: live,
      ...(profile && { profile: (await program.profile(feeds)).byShader() }),
    };
    program.destroy();
    return figures;
  } finally {
    lossScale?.destroy(device);
    store.destroy(device);
    device.close();
  }
}

/** Those of the values that a program takes: a model that uses no prior has no inputs for one. */
export function taken(program: Program, values: Readonly<Record<string, Values>>): Record<string, Values> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => program.takes(name)));
}

/** The graph of a case, its parameters declared in the store, and what it is fed, made when asked for. */
export function workload(store: ParameterStore, { config, mode, batch, precision, profile }: ModelCase) {
  return mode === "infer" ? inference(store, config, batch) : training(store, config, batch, precision, profile);
}

/** Feeds what is given, runs and reads the results back. */
export async function runOnce(
  program: Program,
  feeds: Readonly<Record<string, Values>>,
  outputs: object,
): Promise<void> {
  const values = await program.run(feeds, Object.keys(outputs));
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isFinite(value[0])) throw new Error(`${name} is ${value[0]}: these figures would mean nothing`);
  }
}

/** The features of one pass, batch norm folded into the convolutions. */
function inference(store: ParameterStore, config: ModelConfig, batch: number) {
  const images = input("images", [batch, ...config.imageSize, 3]);
  const [features] = fuse([modelOf(config).represent(new Build(store, false), config, images)]);
  return {
    graph: { outputs: { features }, hoist: true },
    values: (): Record<string, Values> => ({ images: noise(images.size) }),
    lossScale: undefined,
  };
}

/** The whole step: forward, losses, backward, SGD. Pairs of images show the same person. */
export function training(
  store: ParameterStore,
  config: ModelConfig,
  batch: number,
  precision: Precision = "float32",
  profile?: DeviceProfile,
) {
  const images = input("images", [batch, ...config.imageSize, 3]);
  const step = trainingStep(store, config, images, {
    lossScaling: lossScalingOf("dynamic", halves(profile, precision)),
  });
  const [rows, columns] = featureSize(config.imageSize);
  const values = (): Record<string, Values> => {
    const labels = Int32Array.from({ length: batch }, (_, i) => (i >> 1) % config.identities);
    const [top, bottom] = rows > 2 ? [1, rows - 1] : [0, rows];
    const roi = Float32Array.from(Array.from({ length: batch }, () => [top, 0, bottom, columns]).flat());
    return {
      images: noise(images.size),
      mask: new Float32Array(batch * rows * columns).fill(1),
      roi,
      labels,
      partLabels: partLabels(labels, config),
      dropoutSeed: Uint32Array.of(1),
      hyper: Float32Array.of(0.001, 0.9, 5e-4, 0),
    };
  };
  return { graph: { outputs: step.losses, updates: step.updates }, values, lossScale: step.lossScale?.memory };
}

/** Uniform in [-1, 1), as normalised images are in size. */
export function noise(count: number): Float32Array {
  const rng = seededRng(0);
  return Float32Array.from({ length: count }, () => uniform(rng, -1, 1));
}
