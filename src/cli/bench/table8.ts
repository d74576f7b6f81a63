/** Table 8: size, work, time and memory of MPN without CA and of its peers, measured in turns. */
import type { Device } from "../../gpu/device.js";
import { Program } from "../../graph/program.js";
import { input } from "../../graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "../../models/config.js";
import { modelOf } from "../../models/index.js";
import { Build } from "../../nn/layers.js";
import { ParameterStore } from "../../nn/parameters.js";
import { type Mode, runOnce, taken, workload } from "./model.js";
import { summarize, type Times } from "./timing.js";

/** Channels of ResNet-50's stem. */
const PAPER_WIDTH = 64;

/** What the paper's Table 8 says: millions of parameters, and milliseconds an image on a Titan V. */
export interface PaperFigures {
  readonly trainParamsM: number;
  readonly testParamsM: number;
  readonly trainMs: number;
  readonly testMs: number;
}

export interface Entry {
  /** Name for options and JSON. */
  readonly model: string;
  readonly title: string;
  readonly settings: Partial<ModelConfig>;
  readonly paper: PaperFigures;
  /** Why it is not trained here. */
  readonly untrained?: string;
}

const paper = (trainParamsM: number, trainMs: number, testParamsM: number, testMs: number): PaperFigures => ({
  trainParamsM,
  testParamsM,
  trainMs,
  testMs,
});

/** In the paper's order. */
export const TABLE8: readonly Entry[] = [
  {
    model: "pcb",
    title: "PCB",
    settings: { model: "pcb" },
    paper: paper(26.8, 8.3, 26.8, 4.9),
  },
  {
    model: "mgn",
    title: "MGN",
    settings: { model: "mgn" },
    paper: paper(68.8, 16.2, 68.8, 11.9),
  },
  {
    model: "pyramid",
    title: "Pyramid",
    settings: { model: "pyramid" },
    paper: paper(29.1, 14.5, 29.1, 6.4),
  },
  {
    model: "dsa",
    title: "DSA-reID",
    settings: { model: "dsa" },
    paper: paper(187.8, 34.7, 38.5, 5.4),
    untrained: "its training network, which takes 24 dense part images beside the picture, is unpublished",
  },
  {
    model: "mpn0",
    title: "MPN without CA",
    settings: { model: "mpn", channelAttention: false },
    paper: paper(31.5, 10.9, 31.5, 5.1),
  },
];

export interface Measured {
  readonly entry: Entry;
  /** Of the network at test time, without and with running statistics. */
  readonly parameters: number;
  readonly withStatistics: number;
  readonly test: Work;
  /** Null where the entry is not trained. */
  readonly train: Work | null;
}

export interface Work {
  /** Of a batch, over all rounds. */
  readonly times: Times;
  readonly flops: number;
  /** The most bytes of GPU buffers that it has at once: parameters, momenta, inputs, intermediates. */
  readonly gpuBytes: number;
}

export interface Table8Options {
  /** What all models share: size of the images and of the backbone. */
  readonly settings: Partial<ModelConfig>;
  readonly batch: number;
  /** How often every model has its turn. */
  readonly rounds: number;
  /** Timed runs of a turn, after one that is not. */
  readonly runs: number;
  readonly onTurn: (done: number, doing: string) => void;
}

/** How many turns `measureTable8` takes. */
export function turnsOf(entries: readonly Entry[], rounds: number): number {
  return rounds * entries.reduce((sum, { untrained }) => sum + (untrained === undefined ? 2 : 1), 0);
}

/**
 * Measures the entries. In every round each model has a turn, so that whatever else the machine does falls on all of them.
 * Parameters stay on the device from round to round; the rest is made anew, so that one model's memory is alive at a time.
 */
export async function measureTable8(device: Device, entries: readonly Entry[], options: Table8Options) {
  const configs = entries.map((entry) => configOf(entry, options.settings));
  let done = 0;
  const measure = async (mode: Mode, chosen: readonly Entry[]): Promise<Map<Entry, Work>> => {
    const subjects: Subject[] = [];
    try {
      for (const entry of chosen) {
        subjects.push(await Subject.create(device, entry, configs[entries.indexOf(entry)], mode, options.batch));
      }
      for (let round = 0; round < options.rounds; round++) {
        for (const subject of subjects) {
          options.onTurn(done++, `${mode === "infer" ? "test" : "training"}, ${subject.entry.title}`);
          await subject.turn(options.runs);
        }
      }
      return new Map(subjects.map((subject) => [subject.entry, subject.work]));
    } finally {
      for (const subject of subjects) subject.destroy();
    }
  };
  const test = await measure("infer", entries);
  const train = await measure(
    "train",
    entries.filter(({ untrained }) => untrained === undefined),
  );
  options.onTurn(done, "");
  return entries.map((entry, i): Measured => {
    const { parameters, withStatistics } = testParameters(configs[i]);
    return { entry, parameters, withStatistics, test: test.get(entry)!, train: train.get(entry) ?? null };
  });
}

/** The parts' filters shrink with a narrower backbone, so that the models keep their proportions. */
function configOf(entry: Entry, settings: Partial<ModelConfig>): ModelConfig {
  const config = parseModelConfig({ ...settings, ...entry.settings }, `Table 8, ${entry.title}`);
  return { ...config, partDim: Math.max(1, Math.round((config.partDim * config.width) / PAPER_WIDTH)) };
}

/** What the network of test time has: no classifiers, which the paper leaves out too. */
function testParameters(config: ModelConfig) {
  const store = new ParameterStore();
  modelOf(config).represent(new Build(store, false), config, input("images", [1, ...config.imageSize, 3]));
  return store.count();
}

/** One model in one mode, whose parameters are on the device. */
class Subject {
  private readonly times: number[] = [];
  private flops = 0;
  private programBytes = 0;

  private constructor(
    readonly entry: Entry,
    private readonly device: Device,
    private readonly store: ParameterStore,
    private readonly parameterBytes: number,
    private readonly load: ReturnType<typeof workload>,
    private readonly batch: number,
  ) {}

  static async create(device: Device, entry: Entry, config: ModelConfig, mode: Mode, batch: number): Promise<Subject> {
    const store = new ParameterStore();
    const load = workload(store, { config, mode, batch });
    const before = device.bufferBytes;
    store.allocate(device, 0);
    await device.idle();
    return new Subject(entry, device, store, device.bufferBytes - before, load, batch);
  }

  async turn(runs: number): Promise<void> {
    const { device, load, batch } = this;
    const { graph, values } = load;
    const before = device.bufferBytes;
    device.peakBufferBytes = before;
    const program = await Program.compile(device, { ...graph, batch });
    const feeds = taken(program, values());
    try {
      // The first run finds cold caches and pages that no one has touched yet.
      await runOnce(program, feeds, graph.outputs);
      for (let i = 0; i < runs; i++) {
        const started = performance.now();
        await runOnce(program, {}, graph.outputs);
        this.times.push(performance.now() - started);
      }
      this.flops = program.flops;
      this.programBytes = device.peakBufferBytes - before;
    } finally {
      program.destroy();
    }
  }

  get work(): Work {
    return { times: summarize(this.times), flops: this.flops, gpuBytes: this.parameterBytes + this.programBytes };
  }

  destroy(): void {
    this.store.destroy(this.device);
  }
}
