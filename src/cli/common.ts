/** What several commands do: open the adapter and say which, load a network, read a dataset, print an evaluation. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Dataset, unexcluded } from "../data/dataset.js";
import { DecodePool } from "../data/decode-pool.js";
import { maxPicturePixels } from "../data/image-batch.js";
import type { OnUnreadable } from "../data/loader.js";
import type { DetectorErrors } from "../data/perturb.js";
import { UserError } from "../errors.js";
import type { Device, OpenOptions } from "../gpu/device.js";
import type { Precision } from "../graph/storage.js";
import type { ModelConfig } from "../models/config.js";
import { ParameterStore } from "../nn/parameters.js";
import { Extractor, extractionBatch } from "../retrieval/extractor.js";
import type { RankingResult } from "../retrieval/metrics.js";
import { boundBy, type Pace } from "../retrieval/pipeline.js";
import { percent, table } from "../text.js";
import { type OpenCheckpoint, openCheckpoint } from "../training/checkpoint.js";
import { detectorErrorsOf, modelConfigOf } from "../training/config.js";
import { openTuned } from "../tuning/open.js";
import type { Shell } from "./shell.js";

/** The network that ships: trained on synthetic people (weights/README.md). */
const SHIPPED_WEIGHTS = fileURLToPath(new URL("../../weights/small.safetensors", import.meta.url));

export async function openDevice(shell: Shell, options: OpenOptions = {}): Promise<Device> {
  const device = await openTuned(shell, options);
  const { name, description, software } = device.profile;
  shell.note(`adapter: ${name}${description && description !== name ? ` (${description})` : ""}`);
  if (software) shell.note("This is a SOFTWARE adapter: the processor plays the GPU, and everything is slow.");
  return device;
}

export interface LoadedNetwork {
  readonly checkpoint: Omit<OpenCheckpoint, "restore" | "close">;
  readonly config: ModelConfig;
  readonly store: ParameterStore;
  readonly extractor: Extractor;
  readonly perturb?: DetectorErrors;
  /** Whether the features of an image are averaged with those of its mirror image. */
  readonly flip: boolean;
  readonly pool: DecodePool;
  close(): Promise<void>;
}

/**
 * A network ready to represent images.
 * @param weights a checkpoint; by default the one that ships
 * @param flip whether mirror images are averaged in; by default as training's own evaluations did
 * @param perturb amount of the detector errors to add, drawn as the checkpoint's training drew them
 * @param precision how maps are stored; by default as in training
 */
export async function loadNetwork(
  shell: Shell,
  device: Device,
  weights: string | undefined,
  flip: boolean | undefined,
  perturb = 0,
  precision?: Precision,
): Promise<LoadedNetwork> {
  const path = weights ?? SHIPPED_WEIGHTS;
  if (!existsSync(path)) {
    throw new UserError(
      weights === undefined
        ? `The weights that ship are missing: looked for ${path}. Name a checkpoint with --weights.`
        : `There is no checkpoint ${path}. Training writes one as checkpoint.safetensors into its --out folder.`,
    );
  }
  const checkpoint = await openCheckpoint(path);
  try {
    const { flipTest } = checkpoint.config;
    const flipped = flip ?? flipTest;
    if (flipped !== flipTest || !flipped) {
      const now = flipped ? "averaged in" : "left out";
      const own = flipped === flipTest ? "as" : "while";
      shell.note(`Mirror images are ${now}, ${own} the network's flipTest is ${flipTest}.`);
    }
    return await networkOf(device, checkpoint, flipped, perturb, precision);
  } finally {
    await checkpoint.close();
  }
}

async function networkOf(
  device: Device,
  checkpoint: OpenCheckpoint,
  flip: boolean,
  perturb: number,
  precision?: Precision,
): Promise<LoadedNetwork> {
  const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
  const store = new ParameterStore();
  Extractor.declare(store, config);
  store.allocate(device, null);
  // Values are loaded while Dawn's threads compile.
  const [extractor] = await Promise.all([
    Extractor.create(device, store, config, {
      flip,
      interpolation: checkpoint.config.testInterpolation,
      precision: precision ?? checkpoint.config.precision,
      batch: extractionBatch(config, device.profile, flip),
    }),
    checkpoint.restore(device, store),
  ]);
  const errors = detectorErrorsOf({ ...checkpoint.config, perturb });
  const pool = new DecodePool({ maxPixels: maxPicturePixels(config.imageSize), perturb: errors });
  const close = async () => {
    await pool.close();
    extractor.destroy();
    store.destroy(device);
  };
  return { checkpoint, config, store, extractor, perturb: errors, flip, pool, close };
}

/** Warns of each image that cannot be read, and counts them; one that several evaluations meet is one image. */
export function countUnreadable(shell: Shell): { onUnreadable: OnUnreadable; readonly count: number } {
  const paths = new Set<string>();
  return {
    onUnreadable: ({ path }, error) => {
      if (paths.has(path)) return;
      paths.add(path);
      shell.warn(`${error.message} It is skipped.`);
    },
    get count() {
      return paths.size;
    },
  };
}

/** A table with a row for each evaluation. */
export function printEvaluations(shell: Shell, rows: readonly { label: string; result: RankingResult }[]): void {
  const cells = rows.map(({ label, result: { rank1, rank5, rank10, rank20, mAP, mAPTrapezoid } }) => {
    return [label, ...[rank1, rank5, rank10, rank20, mAP, mAPTrapezoid].map((rate) => percent(rate))];
  });
  const head = ["", "Rank-1", "Rank-5", "Rank-10", "Rank-20", "mAP", "mAP (trapezoid)"];
  for (const line of table([head, ...cells])) shell.print(line);
  const { queries, skipped } = rows[rows.length - 1].result;
  shell.print(`${queries} queries${skipped > 0 ? `, ${skipped} without a right gallery image left out` : ""}`);
}

/** Says what the evaluation on a dataset could not leave out. */
export function printUnexcluded(shell: Shell, dataset: Dataset): void {
  const sentence = unexcluded(dataset);
  if (sentence) shell.print(sentence);
}

/** How fast images were represented, and what would have to be faster. */
export function paceText(pace: Pace): string {
  const { imagesPerSecond, boundBy: slower, gpuIdle, decoderIdle } = paceFields(pace);
  const other = slower === "GPU" ? `decoder idle ${percent(decoderIdle)}` : `GPU idle ${percent(gpuIdle)}`;
  return `${imagesPerSecond.toFixed(1)} images/s, bound by the ${slower} (${other})`;
}

/** The same for scripts; idle is a share of the time. */
export function paceFields(pace: Pace) {
  const { images, seconds, gpuSeconds, decoderSeconds } = pace;
  const idle = (busy: number) => (seconds > 0 ? Math.max(0, 1 - busy / seconds) : 0);
  return {
    imagesPerSecond: seconds > 0 ? images / seconds : 0,
    gpuBusySeconds: gpuSeconds,
    gpuIdle: idle(gpuSeconds),
    decoderBusySeconds: decoderSeconds,
    decoderIdle: idle(decoderSeconds),
    boundBy: boundBy(pace),
  };
}

/** The fields that scripts rely on. */
export function evaluationFields(result: RankingResult) {
  const { rank1, rank5, rank10, rank20, mAP, mAPTrapezoid, queries, skipped } = result;
  return { rank1, rank5, rank10, rank20, mAP, mAPTrapezoid, queries, skipped };
}

export function canEvaluate(dataset: Dataset): boolean {
  return dataset.query.length > 0 && dataset.gallery.length > 0;
}
