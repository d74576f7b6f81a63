/** The steps of a training run, and the evaluations between them. */
import type { Dataset } from "../data/dataset.js";
import { DecodePool } from "../data/decode-pool.js";
import { maxPicturePixels } from "../data/image-batch.js";
import type { Device } from "../gpu/device.js";
import { Extractor, extractionBatch } from "../retrieval/extractor.js";
import { percent } from "../text.js";
import { detectorErrorsOf, modelConfigOf, type TrainConfig } from "../training/config.js";
import type { StepReport, Trainer } from "../training/trainer.js";
import type { countUnreadable } from "./common.js";
import { evaluateFully, type FullEvaluation, type OnProgress } from "./evaluation.js";
import type { EvaluationOptions } from "./evaluation-options.js";
import type { Shell } from "./shell.js";

/** Thrown out of an evaluation that the user stopped. */
const STOPPED = new Error("the user stopped the evaluation");

/** @returns whether the user stopped it */
export async function trainLoop(
  shell: Shell,
  config: TrainConfig,
  trainer: Pick<Trainer, "step" | "totalSteps" | "stepsPerEpoch" | "epoch" | "run" | "save" | "metrics">,
  evaluator: Pick<Evaluator, "run"> | null,
): Promise<boolean> {
  if (trainer.step >= trainer.totalSteps) {
    shell.note(`All ${config.epochs} epochs are done already; set more with --set epochs=N.`);
    return false;
  }
  const interrupt = new AbortController();
  const { signal } = interrupt;
  let evaluating = false;
  const release = shell.onInterrupt(() => {
    interrupt.abort(STOPPED);
    shell.note(evaluating ? "Leaving the evaluation; all steps are saved." : "Stopping after this step and saving ...");
  });
  const progress = shell.progress("training", trainer.totalSteps);
  let last: StepReport | null = null;
  let savedAt = -1;
  const save = async () => {
    if (savedAt !== trainer.step) await trainer.save();
    savedAt = trainer.step;
  };
  const atEpochEnd = (every: number) => every > 0 && trainer.step % (trainer.stepsPerEpoch * every) === 0;
  try {
    while (!signal.aborted && trainer.step < trainer.totalSteps) {
      let due = false;
      await trainer.run((latest) => {
        last = latest ?? last;
        const note = last
          ? `epoch ${last.epoch + 1}/${config.epochs}  loss ${last.loss.total.toFixed(3)}  lr ${last.lr.toPrecision(2)}  ${last.imagesPerSecond.toFixed(1)} images/s`
          : "";
        progress.update(trainer.step, note);
        due = atEpochEnd(config.checkpointEvery) || atEpochEnd(config.evaluateEvery);
        return !signal.aborted && !due;
      });
      const evaluates = evaluator !== null && trainer.step < trainer.totalSteps && atEpochEnd(config.evaluateEvery);
      // Before an evaluation too: it may take long, and is not to cost any step if it does not come to its end.
      if (evaluates || atEpochEnd(config.checkpointEvery)) await save();
      if (!evaluates || signal.aborted) continue;
      evaluating = true;
      // A bar of its own would tear the training's.
      const onProgress = (done: number, total: number) => progress.update(trainer.step, `evaluating ${done}/${total}`);
      const evaluation = await evaluator.run(onProgress, { signal }).catch((error) => {
        if (error !== STOPPED) throw error;
        return null;
      });
      evaluating = false;
      if (!evaluation) continue;
      const { single, fields } = evaluation;
      single.release();
      trainer.metrics.append({ step: trainer.step, epoch: trainer.epoch, evaluation: fields });
      shell.note(`epoch ${trainer.epoch}: Rank-1 ${percent(fields.rank1)}, mAP ${percent(fields.mAP)}`);
    }
    await save();
    return signal.aborted;
  } finally {
    progress.stop();
    release();
  }
}

interface EvaluatorOptions {
  readonly device: Device;
  readonly dataset: Dataset;
  readonly config: TrainConfig;
}

interface EvaluatorRun {
  /** By default the one trained on. */
  readonly dataset?: Dataset;
  readonly evaluation?: EvaluationOptions;
  readonly signal?: AbortSignal;
}

/** Evaluates the weights in training, on the same device memory. */
export class Evaluator {
  private constructor(
    private readonly shell: Shell,
    private readonly options: EvaluatorOptions,
    readonly extractor: Extractor,
    readonly pool: DecodePool,
    private readonly onUnreadable: ReturnType<typeof countUnreadable>["onUnreadable"],
  ) {}

  static async create(
    shell: Shell,
    options: EvaluatorOptions,
    trainer: Trainer,
    onUnreadable: Evaluator["onUnreadable"],
  ): Promise<Evaluator> {
    const { device, config } = options;
    const model = modelConfigOf(config, 1);
    const batch = extractionBatch(model, device.profile, config.flipTest);
    const extractor = await Extractor.create(device, trainer.store, model, {
      flip: config.flipTest,
      interpolation: config.testInterpolation,
      precision: config.precision,
      batch,
    });
    const pool = new DecodePool({
      workers: config.workers ?? undefined,
      maxPixels: maxPicturePixels(config.imageSize),
      perturb: detectorErrorsOf(config),
    });
    return new Evaluator(shell, options, extractor, pool, onUnreadable);
  }

  /**
   * @param display title of the progress display, or what shows it instead
   * @throws the signal's reason, once it is aborted
   */
  async run(display: string | OnProgress, options: EvaluatorRun = {}): Promise<FullEvaluation> {
    const { shell, onUnreadable } = this;
    const { dataset = this.options.dataset, evaluation = {}, signal } = options;
    this.extractor.refresh();
    return evaluateFully(shell, this.options.device, this, dataset, evaluation, { display, onUnreadable, signal });
  }

  async close(): Promise<void> {
    await this.pool.close();
    this.extractor.destroy();
  }
}
