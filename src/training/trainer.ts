/** The training loop (Sec. 5.1): batches decoded ahead, one GPU program a step, losses read back late. */
import { join } from "node:path";
import {
  type Augmentation,
  type AugmentationOptions,
  augmentBatch,
  DEFAULT_AUGMENTATION,
  type Size,
} from "../data/augment.js";
import { BusyClock } from "../data/busy-clock.js";
import type { Sample } from "../data/dataset.js";
import { DecodePool } from "../data/decode-pool.js";
import { maxPicturePixels, packImages } from "../data/image-batch.js";
import { type OnUnreadable, type TrainBatch, trainBatches } from "../data/loader.js";
import { type MovablePrior, movePrior } from "../data/prior.js";
import { PkSampler, type PkSamplerState } from "../data/sampler.js";
import { NotFiniteError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { input } from "../graph/tensor.js";
import { featureSize } from "../models/config.js";
import { modelOf } from "../models/index.js";
import { ParameterStore } from "../nn/parameters.js";
import { IMAGE_TABLE_COLUMNS, prepareImages } from "../ops/index.js";
import { integer, Stream, seededRng } from "../random.js";
import { type Checkpoint, type Initialised, initialise, restore, writeCheckpoint } from "./checkpoint.js";
import { detectorErrorsOf, epochLength, modelConfigOf, type TrainConfig } from "./config.js";
import { halves, type LossScale, type LossScaleState, lossScalingOf } from "./loss-scale.js";
import { MetricsLog } from "./metrics-log.js";
import { partLabels, trainingStep } from "./step.js";

export const CHECKPOINT_FILE = "checkpoint.safetensors";
const METRICS_FILE = "metrics.jsonl";

/** Name of the output that is read beside the losses where they are scaled. */
const SCALE = "loss scale";

/** Steps whose losses may still be on their way: enough that the GPU never waits, few enough to notice trouble soon. */
const IN_FLIGHT = 2;

export interface TrainerOptions {
  readonly device: Device;
  readonly config: TrainConfig;
  readonly samples: readonly Sample[];
  /** Class of every sample, -1 for those that are not trained on. */
  readonly labels: Int32Array;
  /** Person of each class. */
  readonly pids: readonly number[];
  /** One per sample; absent where the variant uses no prior. */
  readonly priors?: readonly MovablePrior[];
  /** Folder for the checkpoint and metrics. */
  readonly folder: string;
  /** Weights to start from, as far as they fit; with `resume` all of them, and also momenta, step and sampler. */
  readonly from?: { readonly checkpoint: Checkpoint; readonly resume: boolean };
  readonly onUnreadable?: OnUnreadable;
}

export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly lr: number;
  readonly loss: Readonly<Record<string, number>>;
  readonly imagesPerSecond: number;
  /** Where gradients are rounded to float16: the loss scale after the step, and steps that were skipped so far as their gradients were not finite. */
  readonly lossScale?: number;
  readonly skipped?: number;
}

/** Steps skipped in a row after which no scale will help: from its start, the scale has then come down to 2^-4. */
const MOST_SKIPPED = 20;

type Pending = { step: number; lr: number; losses: Promise<Record<string, ArrayLike<number>>> };

export class Trainer {
  readonly totalSteps: number;
  readonly stepsPerEpoch: number;
  readonly metrics: MetricsLog;
  readonly checkpointPath: string;
  /** Steps done. */
  step = 0;
  private samplerState: PkSamplerState;
  private lossScaleState: LossScaleState | undefined;
  private readonly pending: Pending[] = [];
  private lastReport = performance.now();
  private readonly data = new BusyClock();
  private source: { pool: DecodePool; batches: AsyncGenerator<TrainBatch, void> } | null = null;

  private constructor(
    private readonly options: TrainerOptions,
    readonly store: ParameterStore,
    readonly program: Program,
    private readonly lossNames: readonly string[],
    private readonly sampler: PkSampler,
    private readonly lossScale: LossScale | undefined,
    /** What was taken over from another network's weights, if the run started from such. */
    readonly initialised: Initialised | null,
  ) {
    this.stepsPerEpoch = epochLength(options.config, options.labels.filter((l) => l >= 0).length);
    this.totalSteps = options.config.epochs * this.stepsPerEpoch;
    this.metrics = new MetricsLog(join(options.folder, METRICS_FILE));
    this.checkpointPath = join(options.folder, CHECKPOINT_FILE);
    this.samplerState = sampler.getState();
  }

  /** Builds the step, gives the parameters their values and compiles. */
  static async create(options: TrainerOptions): Promise<Trainer> {
    const { device, config, from } = options;
    const [height, width] = config.imageSize;
    const n = config.subjects * config.imagesPerSubject;
    const sampler =
      from?.resume && from.checkpoint.sampler
        ? PkSampler.fromState(options.labels, from.checkpoint.sampler)
        : new PkSampler(options.labels, {
            subjects: config.subjects,
            images: config.imagesPerSubject,
            seed: config.seed,
          });

    const { precision, matrixUnits, lossScale } = config;
    const rounded = halves(matrixUnits ? device.profile : undefined, precision);
    const store = new ParameterStore();
    const bytes = input("bytes", [Math.ceil((n * maxPicturePixels(config.imageSize) * 3) / 4)], "u32");
    const table = input("table", [n, IMAGE_TABLE_COLUMNS], "i32");
    const step = trainingStep(
      store,
      modelConfigOf(config, options.pids.length),
      prepareImages(bytes, table, height, width, { erasure: config.erasingFill }),
      { ...config, lossScaling: lossScalingOf(lossScale, rounded) },
    );
    store.allocate(device, from?.resume ? null : config.seed);
    const scale = step.lossScale;
    scale?.memory.allocate(device, from?.resume ? from.checkpoint.lossScale : undefined);
    if (from?.resume) restore(device, store, from.checkpoint, { momenta: true });
    const initialised =
      from && !from.resume
        ? initialise(device, store, from.checkpoint, options.pids, modelOf(config).initialName)
        : null;
    const outputs = { ...step.losses, ...(scale && { [SCALE]: scale.state }) };
    const { updates } = step;
    const program = await Program.compile(device, { outputs, updates, precision, matrixUnits, batch: n });
    const trainer = new Trainer(options, store, program, Object.keys(step.losses), sampler, scale?.memory, initialised);
    if (from?.resume) trainer.step = from.checkpoint.step;
    if (from?.resume) trainer.lossScaleState = from.checkpoint.lossScale;
    trainer.metrics.rewind(trainer.step);
    return trainer;
  }

  /**
   * How long steps waited for their batch, the first one's included. Earlier steps may have kept the GPU busy meanwhile, so
   * training would be faster by this much at most.
   */
  get dataSeconds(): number {
    return this.data.seconds;
  }

  get epoch(): number {
    return Math.floor(this.step / this.stepsPerEpoch);
  }

  /** Step schedule of Sec. 5.1: multiplied by lrGamma every lrStep epochs. */
  learningRate(epoch: number): number {
    const { lr, lrGamma, lrStep } = this.options.config;
    return lr * lrGamma ** Math.floor(epoch / lrStep);
  }

  /**
   * Trains until the end, or until `each` returns false after a step; then everything in flight has been read and checked,
   * and the next call goes on.
   * @param each called after every step with the latest losses that are known (null for the first few)
   * @throws NotFiniteError when a loss is not finite; the last checkpoint stays as it was
   */
  async run(each: (latest: StepReport | null) => boolean | Promise<boolean>): Promise<void> {
    this.lastReport = performance.now();
    this.source ??= this.open();
    while (this.step < this.totalSteps) {
      const { value: batch, done } = await this.data.during(this.source.batches.next());
      if (done || !batch) break;
      this.submit(batch);
      const latest = this.pending.length > IN_FLIGHT ? await this.settle() : null;
      if (!(await each(latest))) break;
    }
    await this.flush();
  }

  /** Decoded ahead from here on; the state to resume from is that of the last batch used, not of the sampler. */
  private open(): NonNullable<Trainer["source"]> {
    const { config, samples, onUnreadable } = this.options;
    const pool = new DecodePool({
      workers: config.workers ?? undefined,
      maxPixels: maxPicturePixels(config.imageSize),
      perturb: detectorErrorsOf(config),
    });
    const batches = trainBatches({ samples, sampler: this.sampler, pool, depth: config.batchesAhead, onUnreadable });
    return { pool, batches };
  }

  private submit(batch: TrainBatch): void {
    const { config, labels, pids } = this.options;
    const [height, width] = config.imageSize;
    const size = { height, width };
    const options = augmentationOf(config);
    const plans = augmentBatch(config.seed, batch.number, batch.images.length, options, size);
    const { bytes, table } = packImages(
      batch.images,
      plans.map((augmentation, image) => ({ image, augmentation })),
    );
    const classes = Int32Array.from(batch.indices, (i) => labels[i]);
    const lr = this.learningRate(this.epoch);
    const feeds: Record<string, Float32Array | Int32Array | Uint32Array | Uint8Array> = {
      bytes,
      table,
      hyper: Float32Array.of(lr, config.momentum, config.weightDecay, Number(config.nesterov)),
      labels: classes,
      partLabels: partLabels(classes, modelConfigOf(config, pids.length)),
      dropoutSeed: Uint32Array.of(integer(seededRng(config.seed, Stream.dropout, batch.number), 0, 0xffffffff)),
      ...this.priorFeeds(batch.indices, plans, size),
    };
    const wanted = Object.fromEntries(Object.entries(feeds).filter(([name]) => this.program.takes(name)));
    this.step++;
    this.samplerState = batch.next;
    const read = this.lossScale ? [...this.lossNames, SCALE] : this.lossNames;
    this.pending.push({ step: this.step, lr, losses: this.program.run(wanted, read) });
  }

  private priorFeeds(
    indices: readonly number[],
    plans: readonly Augmentation[],
    size: Size,
  ): Record<string, Float32Array> {
    const { priors, config } = this.options;
    if (!priors) return {};
    const [rows, cols] = featureSize(config.imageSize);
    const mask = new Float32Array(indices.length * rows * cols);
    const roi = new Float32Array(indices.length * 4);
    indices.forEach((index, i) => {
      const moved = movePrior(priors[index], plans[i], size);
      mask.set(moved.mask, i * rows * cols);
      roi.set([moved.top, 0, moved.bottom, cols], i * 4);
    });
    return { mask, roi };
  }

  /** Reads the oldest losses in flight, checks and logs them. */
  private async settle(): Promise<StepReport | null> {
    const oldest = this.pending.shift();
    if (!oldest) return null;
    const values = await oldest.losses;
    const loss = Object.fromEntries(this.lossNames.map((name) => [name, values[name][0]]));
    const bad = this.lossNames.filter((name) => !Number.isFinite(loss[name]));
    if (bad.length > 0) {
      await this.drop();
      throw new NotFiniteError(
        `Step ${oldest.step}: the loss ${bad.join(", ")} is not finite (${bad.map((n) => loss[n]).join(", ")}). Training stopped; ` +
          `${this.checkpointPath} is as it was before. Train with a smaller lr.`,
      );
    }
    const scale = this.lossScale ? await this.settleScale(oldest.step, values[SCALE]) : {};
    const now = performance.now();
    const { subjects, imagesPerSubject } = this.options.config;
    const imagesPerSecond = (1000 * subjects * imagesPerSubject) / (now - this.lastReport);
    this.lastReport = now;
    const epoch = Math.floor((oldest.step - 1) / this.stepsPerEpoch);
    const report = { step: oldest.step, epoch, lr: oldest.lr, loss, imagesPerSecond, ...scale };
    this.metrics.append(report);
    return report;
  }

  private async settleScale(step: number, values: ArrayLike<number>) {
    const [lossScale, good, skipped, inARow] = Array.from(values);
    this.lossScaleState = [lossScale, good, skipped, inARow];
    if (inARow >= MOST_SKIPPED) {
      await this.drop();
      throw new NotFiniteError(
        `Step ${step}: the gradients of ${inARow} steps in a row are not finite in float16, the last ones at a loss scale of ` +
          `${lossScale}. Training stopped; ${this.checkpointPath} is as it was before. Train with a smaller lr, ` +
          "with another lossScale if it was set, or with precision=float32 and without matrix units.",
      );
    }
    return { lossScale, skipped };
  }

  /** What is still on its way must arrive before its memory goes. */
  private async drop(): Promise<void> {
    await Promise.allSettled(this.pending.splice(0).map((p) => p.losses));
  }

  /** Waits for every step in flight; after it the losses of all steps done are known to be finite. */
  async flush(): Promise<void> {
    while (this.pending.length > 0) await this.settle();
  }

  /** Writes the checkpoint of the steps done, after making sure that their losses were finite. */
  async save(): Promise<void> {
    await this.flush();
    const { device, config, pids } = this.options;
    await writeCheckpoint(this.checkpointPath, device, this.store, {
      config,
      pids,
      step: this.step,
      sampler: this.samplerState,
      lossScale: this.lossScaleState,
    });
    this.lastReport = performance.now();
  }

  async close(): Promise<void> {
    await this.source?.batches.return();
    await this.source?.pool.close();
    this.program.destroy();
    this.lossScale?.destroy(this.options.device);
    this.store.destroy(this.options.device);
  }
}

function augmentationOf(config: TrainConfig): AugmentationOptions {
  return {
    flip: config.flip,
    translation: { variants: config.translationFolds, range: config.translationFraction },
    erase: {
      ...DEFAULT_AUGMENTATION.erase,
      probability: config.erasing,
      area: config.erasingArea,
      aspect: config.erasingAspect,
    },
  };
}
