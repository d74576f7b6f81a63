/** A training run from dataset to report; `mpn train` and `mpn demo` differ in where the dataset comes from. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Dataset, datasetTable, formatDatasetTable, remarks, trainIdentities } from "../data/dataset.js";
import type { MovablePrior } from "../data/prior.js";
import { loadPriors } from "../data/prior-cache.js";
import { searchedFor } from "../data/prior-maps.js";
import { UserError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import { featureSize } from "../models/config.js";
import { modelOf } from "../models/index.js";
import type { Timing } from "../report/data.js";
import { percent } from "../text.js";
import {
  type Checkpoint,
  CLASSIFIER,
  checkResumable,
  type Initialised,
  readCheckpoint,
} from "../training/checkpoint.js";
import { detectorErrorsOf, modelConfigOf, type TrainConfig } from "../training/config.js";
import { CHECKPOINT_FILE, Trainer } from "../training/trainer.js";
import { canEvaluate, countUnreadable, printEvaluations, printUnexcluded } from "./common.js";
import type { FullEvaluation, Row } from "./evaluation.js";
import type { EvaluationOptions } from "./evaluation-options.js";
import { formatSeconds } from "./progress.js";
import { startRunFolder } from "./run-folder.js";
import { rankedLists, writeRunReport } from "./run-report.js";
import type { Shell } from "./shell.js";
import { Evaluator, trainLoop } from "./train-loop.js";

export interface TrainRunOptions {
  readonly device: Device;
  readonly dataset: Dataset;
  /** Evaluated on after training, besides the dataset itself. */
  readonly tests?: readonly Dataset[];
  readonly config: TrainConfig;
  /** Folder of the run: checkpoint, metrics, configuration and report. */
  readonly folder: string;
  readonly resume: boolean;
  /** A checkpoint whose weights training starts from. */
  readonly init?: string;
  readonly evaluate: boolean;
  /** Whether to evaluate the untrained network too. Default: true. */
  readonly evaluateBefore?: boolean;
  /** What the evaluations after training have besides single queries ranked by cosine similarity. */
  readonly evaluation?: EvaluationOptions;
  readonly title: string;
  /** Timings of what came before, for the report. */
  readonly timings?: readonly Timing[];
}

export interface TrainRunResult {
  steps: number;
  epochs: number;
  interrupted: boolean;
  checkpoint: string;
  report: string;
  skippedImages: number;
  /** What `init` gave, by the tensors' names. */
  init?: Initialised;
  trainSeconds: number;
  /** Of the steps done now, without those done before a resume; 0 where there was none to do. */
  secondsPerStep: number;
  /** Of `trainSeconds`, those in which a step waited for its pictures. */
  dataSeconds: number;
  evaluateSeconds: number;
  before?: FullEvaluation["fields"];
  after?: FullEvaluation["fields"];
  /** Of the datasets in `tests`, in their order. */
  tests?: ({ dataset: string; layout: string; root: string } & FullEvaluation["fields"])[];
}

export async function trainRun(shell: Shell, options: TrainRunOptions): Promise<TrainRunResult> {
  const { device, dataset, config, folder } = options;
  shell.print(formatDatasetTable(dataset));
  const { pids, labels } = trainIdentities(dataset.train);
  const from = await startingPoint(options, pids);
  const priors = await priorsFor(shell, dataset, config);
  await startRunFolder(folder, config);

  const unreadable = countUnreadable(shell);
  const timings: Timing[] = [...(options.timings ?? [])];
  const time = async <T>(name: string, note: string | undefined, work: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    const result = await work();
    timings.push({ name, milliseconds: performance.now() - started, ...(note && { note }) });
    return result;
  };
  const { onUnreadable } = unreadable;
  const trainer = await time("Preparing the training step", "shaders compiled or taken from the driver's cache", () =>
    Trainer.create({ device, config, samples: dataset.train, labels, pids, priors, folder, from, onUnreadable }),
  );
  if (trainer.initialised) printInitialised(shell, options.init!, trainer.initialised);
  const { tests = [], evaluation = {} } = options;
  const ownTest = options.evaluate && canEvaluate(dataset);
  const evaluator = ownTest || tests.length > 0 ? await Evaluator.create(shell, options, trainer, onUnreadable) : null;
  const own = ownTest ? evaluator : null;
  const resumedAt = trainer.step;
  try {
    // A finished run's weights are those of the evaluation after it.
    const before =
      own &&
      (options.evaluateBefore ?? true) &&
      trainer.step < trainer.totalSteps &&
      (await time("Evaluation before training", undefined, () => own.run("evaluating the untrained network")));
    const interrupted = await time("Training", `${trainer.totalSteps - trainer.step} steps`, () =>
      trainLoop(shell, config, trainer, own),
    );
    // Who stops a run wants it saved and gone, not evaluated.
    const after = interrupted
      ? null
      : own && (await time("Evaluation after training", undefined, () => own.run("evaluating", { evaluation })));
    const evaluations = [
      ...(before ? [{ label: from?.resume ? "when resumed" : "before training", result: before.single.result }] : []),
      ...(after ? [{ label: `after ${trainer.step} steps`, result: after.single.result }] : []),
      ...(after?.others ?? []),
    ];
    if (evaluations.length > 0) printEvaluations(shell, evaluations);
    if (own) printUnexcluded(shell, dataset);
    const others: { rows: Row[]; fields: FullEvaluation["fields"]; notes: string[] }[] = [];
    for (const other of interrupted ? [] : tests) {
      shell.print(`${other.name}  (${other.root})`);
      shell.print(formatDatasetTable(other));
      const { single, fields, ...more } = await time(`Evaluation on ${other.name}`, undefined, () =>
        evaluator!.run(`evaluating on ${other.name}`, { dataset: other, evaluation }),
      );
      single.release();
      const rows = [{ label: other.name, result: single.result }, ...more.others];
      others.push({ rows, fields, notes: remarks(other) });
      printEvaluations(shell, rows);
      printUnexcluded(shell, other);
    }
    const secondsOf = (name: string) => (timings.find((t) => t.name === name)?.milliseconds ?? 0) / 1000;
    const trainSeconds = secondsOf("Training");
    const { dataSeconds } = trainer;
    const steps = trainer.step - resumedAt;
    const waited = `${dataSeconds.toFixed(1)} s waiting for pictures (${percent(dataSeconds / trainSeconds)})`;
    if (steps > 0) shell.print(`${steps} steps in ${formatSeconds(trainSeconds)}, ${waited}`);
    const report = await writeRunReport({
      folder,
      title: options.title,
      device,
      config,
      dataset: { name: dataset.name, rows: datasetTable(dataset) },
      evaluations,
      notes: remarks(dataset),
      otherDatasets: others.flatMap(({ rows: [row, ...more], notes }) => [
        { ...row, notes },
        ...more.map(({ label, result }) => ({ label: `${row.label}, ${label}`, result, notes: [] })),
      ]),
      metrics: [
        ...trainer.metrics.read(),
        // The last point of those that `evaluateEvery` asked for.
        ...(after ? [{ step: trainer.step, epoch: trainer.epoch, evaluation: after.fields }] : []),
      ],
      rankedLists: after
        ? await rankedLists(dataset, after.single, { count: 4, perturb: detectorErrorsOf(config) })
        : [],
      timings,
    });
    for (const e of [before, after]) if (e) e.single.release();
    if (unreadable.count > 0) shell.warn(`${unreadable.count} images could not be read and were skipped.`);
    shell.print(`checkpoint: ${trainer.checkpointPath}`);
    shell.print(`report:     ${report}`);
    return {
      steps: trainer.step,
      epochs: trainer.epoch,
      interrupted,
      checkpoint: trainer.checkpointPath,
      report,
      skippedImages: unreadable.count,
      ...(trainer.initialised && { init: trainer.initialised }),
      trainSeconds,
      secondsPerStep: trainSeconds / Math.max(1, steps),
      dataSeconds,
      evaluateSeconds: secondsOf("Evaluation after training"),
      ...(before && { before: before.fields }),
      ...(after && { after: after.fields }),
      ...(others.length > 0 && {
        tests: others.map(({ fields }, i) => ({
          dataset: tests[i].name,
          layout: tests[i].layout,
          root: tests[i].root,
          ...fields,
        })),
      }),
    };
  } finally {
    await evaluator?.close();
    await trainer.close();
  }
}

/** Says what a network starts with: users cannot tell a harmless difference from a fatal one by themselves. */
function printInitialised(shell: Shell, path: string, { loaded, skipped, missing }: Initialised): void {
  const few = (names: readonly string[]) =>
    names.length === 0 ? "" : ` (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""})`;
  const classifiers = skipped.filter((name) => CLASSIFIER.test(name));
  const others = skipped.filter((name) => !CLASSIFIER.test(name));
  shell.note(`started from ${path}: ${loaded.length} tensors loaded`);
  shell.note(`  skipped classifiers: ${classifiers.length}${few(classifiers)}`);
  shell.note(`  skipped, not in this network: ${others.length}${few(others)}`);
  shell.note(`  missing, with initial values: ${missing.length}${few(missing)}`);
}

async function startingPoint(
  options: TrainRunOptions,
  pids: readonly number[],
): Promise<{ checkpoint: Checkpoint; resume: boolean } | undefined> {
  const { folder, resume, init, config } = options;
  const path = join(folder, CHECKPOINT_FILE);
  if (resume) {
    if (!existsSync(path)) throw new UserError(`Nothing to resume: there is no ${path}. Train without --resume first.`);
    const checkpoint = await readCheckpoint(path);
    checkResumable(checkpoint, config, pids);
    return { checkpoint, resume: true };
  }
  if (existsSync(path)) {
    throw new UserError(
      `${folder} already holds a trained network (${CHECKPOINT_FILE}). Go on with --resume, or choose another folder with --out.`,
    );
  }
  return init === undefined ? undefined : { checkpoint: await readCheckpoint(init), resume: false };
}

async function priorsFor(shell: Shell, dataset: Dataset, config: TrainConfig): Promise<MovablePrior[] | undefined> {
  const model = modelConfigOf(config, 1);
  if (!modelOf(model).usesPrior(model)) return undefined;
  const [rows, cols] = featureSize(config.imageSize);
  const { priors, counts } = await loadPriors(
    dataset,
    { rows, cols, labels: config.labels, perturb: detectorErrorsOf(config) },
    {
      parsing: config.parsing,
      segmentation: config.segmentation,
      onProgress: shell.onProgress("coarse priors"),
    },
  );
  shell.note(
    `coarse priors: ${counts.reliable} reliable, ${counts.segmentationOnly} by a segmentation alone, ${counts.unreliable} not (head or legs not seen), ${counts.missing} without maps (uniform division)`,
  );
  if (counts.missing === priors.length)
    shell.warn(
      `no image has a coarse prior, and all are divided uniformly: ${searchedFor(dataset.root, dataset.train[0])}.`,
    );
  return [...priors];
}
