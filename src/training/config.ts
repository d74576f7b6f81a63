import * as v from "valibot";
import { LABEL_SETS, type LabelSet } from "../data/label-sets.js";
import type { DetectorErrors } from "../data/perturb.js";
import { UserError } from "../errors.js";
import { PRECISIONS } from "../graph/storage.js";
import {
  checkModelSettings,
  count,
  type ModelConfig,
  modelFields,
  number,
  parseWith,
  whole,
  withModelDefaults,
} from "../models/config.js";
import { untrainable } from "../models/dsa.js";

const fraction = v.pipe(number, v.minValue(0), v.maxValue(1));
const range = <Bound extends v.GenericSchema<unknown, number>>(bound: Bound) =>
  v.pipe(
    v.strictTuple([bound, bound]),
    v.check(([low, high]) => low <= high, "the smaller number first"),
  );

export const trainConfigSchema = v.strictObject({
  ...modelFields,
  /** The preset that the settings started from; see `presets`. */
  preset: v.optional(v.picklist(["paper", "small", "official"]), "paper"),
  /** Decides initial values, batches and augmentation; the same seed gives the same weights on the same adapter. */
  seed: v.optional(v.pipe(whole, v.minValue(0), v.maxValue(0xffffffff)), 0),

  /** S, people of a batch (Sec. 5.1). */
  subjects: v.optional(count, 6),
  /** A, images of each person of a batch (Sec. 5.1). */
  imagesPerSubject: v.optional(count, 8),
  /** Passes over the enlarged training set (Sec. 5.1). */
  epochs: v.optional(count, 70),
  /** Batches of an epoch; null: as many as the enlarged training set fills, see `epochLength`. */
  iterationsPerEpoch: v.optional(v.nullable(count), null),

  /** Learning rate at the start (Sec. 5.1). */
  lr: v.optional(v.pipe(number, v.gtValue(0)), 0.01),
  /** Epochs after which the learning rate is multiplied by `lrGamma`, again and again (Sec. 5.1). */
  lrStep: v.optional(count, 20),
  lrGamma: v.optional(v.pipe(number, v.gtValue(0), v.maxValue(1)), 0.1),
  /** Factor of the learning rate for the backbone: below 1 for one that is trained already. */
  lrBackbone: v.optional(v.pipe(number, v.gtValue(0)), 1),
  /** Momentum of SGD (Sec. 5.1). */
  momentum: v.optional(v.pipe(number, v.minValue(0), v.ltValue(1)), 0.9),
  /** Weight decay of every parameter, those of batch norm included (Sec. 5.1). */
  weightDecay: v.optional(v.pipe(number, v.minValue(0)), 5e-4),
  nesterov: v.optional(v.boolean(), false),

  /** Probability of a horizontal flip (Sec. 5.1). */
  flip: v.optional(fraction, 0.5),
  /** Probability of random erasing (Sec. 5.1). */
  erasing: v.optional(fraction, 0.5),
  /** Range of the erased area, as a fraction of the image's. */
  erasingArea: v.optional(range(fraction), [0.02, 0.4]),
  /** Range of the erased rectangle's height / width. */
  erasingAspect: v.optional(range(v.pipe(number, v.gtValue(0))), [0.3, 3.33]),
  /** Red, green and blue of erased pixels, in normalised values; 0 is the mean colour. */
  erasingFill: v.optional(v.strictTuple([number, number, number]), [0, 0, 0]),
  /** How many times random translation enlarges the training set (Sec. 5.1); 1 leaves the images where they are. */
  translationFolds: v.optional(count, 5),
  /** Furthest translation, as a fraction of the image's height and width. */
  translationFraction: v.optional(fraction, 0.05),

  /** Epochs between evaluations; 0: only after the last one. */
  evaluateEvery: v.optional(v.pipe(whole, v.minValue(0)), 10),
  /** Epochs between checkpoints; one is also written after the last epoch and on interruption. */
  checkpointEvery: v.optional(count, 1),
  /** Whether the evaluated features are averaged with those of the flipped image. */
  flipTest: v.optional(v.boolean(), true),
  /** How images are resized for evaluation and extraction; training images are always resized bilinearly. */
  testInterpolation: v.optional(v.picklist(["bilinear", "bicubic"]), "bilinear"),

  /** Detector errors added to every picture and its maps (data/perturb.ts): 0 none, 1 heavy. */
  perturb: v.optional(v.pipe(number, v.minValue(0), v.maxValue(2)), 0),
  /** Decides the detector errors; apart from `seed`, so that runs of other seeds see the same pictures. */
  perturbSeed: v.optional(v.pipe(whole, v.minValue(0), v.maxValue(0xffffffff)), 0),

  /** Whether normalised maps are made again in the backward pass instead of kept: less memory for the same weights. */
  recompute: v.optional(v.boolean(), true),
  /**
   * How feature maps and their gradients are stored. float16 halves their memory and is a little less exact; everything is
   * computed, and parameters are kept, in float32 either way. It wants an adapter with shader-f16.
   */
  precision: v.optional(v.picklist(PRECISIONS), "float32"),
  /**
   * Whether convolutions may round their operands to what the adapter's matrix units multiply (f16); where it has none that the
   * kernels can use, they stay float32.
   */
  matrixUnits: v.optional(v.boolean(), false),
  /**
   * What the loss is multiplied by where gradients are rounded to float16 (by either of the two above), so that small gradients do not become 0: a power of two, or "dynamic": halved
   * by a step whose gradients are not finite, which is skipped, and doubled after 2000 good ones.
   */
  lossScale: v.optional(
    v.union(
      [
        v.literal("dynamic"),
        v.pipe(
          number,
          v.gtValue(0),
          v.check((scale) => Number.isInteger(Math.log2(scale)), "a power of two"),
        ),
      ],
      '"dynamic" or a power of two',
    ),
    "dynamic",
  ),
  /** Batches decoded ahead of the GPU. */
  batchesAhead: v.optional(count, 2),
  /** Threads that decode images; null: one for each core but one, at least one. */
  workers: v.optional(v.nullable(count), null),
  /** The label set of the parsing maps that coarse priors are made from (Sec. 3.2). */
  labels: v.optional(v.picklist(Object.keys(LABEL_SETS) as LabelSet[]), "lip"),
  /** Folders of parsing and of segmentation maps; null: the usual places in the dataset, see `findMaps`. */
  parsing: v.optional(v.nullable(v.string()), null),
  segmentation: v.optional(v.nullable(v.string()), null),
});

/** Everything that decides a training run except the dataset, which brings `identities`. */
export type TrainConfig = v.InferOutput<typeof trainConfigSchema>;
export type PresetName = TrainConfig["preset"];

/**
 * Validates settings that a checkpoint or a caller brings, `source` being named in errors.
 * @throws UserError as `loadConfig` does.
 */
export function parseTrainConfig(input: unknown, source = "the configuration"): TrainConfig {
  const config = parseWith(trainConfigSchema, withModelDefaults(input), source);
  checkTrainConfig(config, source);
  return config;
}

/** Refuses settings that are right by themselves and do not go together. */
export function checkTrainConfig(config: TrainConfig, source = "the configuration"): void {
  if (config.model === "dsa") untrainable();
  checkModelSettings(config, source);
  for (const key of ["subjects", "imagesPerSubject"] as const) {
    if (config.triplet && config[key] < 2) {
      throw new UserError(
        `${source}: ${key} is ${config[key]}; the triplet loss needs at least 2 (or set triplet to false)`,
        {
          exitCode: 2,
        },
      );
    }
  }
}

/** The model that these settings describe, for a training set of `identities` people. */
export function modelConfigOf(config: TrainConfig, identities: number): ModelConfig {
  const fields = Object.keys(modelFields) as (keyof typeof modelFields)[];
  return {
    ...(Object.fromEntries(fields.map((key) => [key, config[key]])) as Omit<ModelConfig, "identities">),
    identities,
  };
}

/** The detector errors that these settings add to the pictures, if any. */
export function detectorErrorsOf({ perturb, perturbSeed }: TrainConfig): DetectorErrors | undefined {
  return perturb > 0 ? { amount: perturb, seed: perturbSeed } : undefined;
}

/**
 * Batches of an epoch over `images` training images: those that leave at least one image of the enlarged set over, as
 * the official code counts (1347 for Market-1501's 12,936 images, five-fold, in batches of 48), and at least one.
 */
export function epochLength(config: TrainConfig, images: number): number {
  if (config.iterationsPerEpoch !== null) return config.iterationsPerEpoch;
  const batch = config.subjects * config.imagesPerSubject;
  return Math.max(1, Math.ceil((config.translationFolds * images) / batch) - 1);
}

/** Settings that may change between stopping and resuming a run without changing the weights it reaches by a step. */
const free = [
  "preset",
  "epochs",
  "evaluateEvery",
  "checkpointEvery",
  "flipTest",
  "testInterpolation",
  "recompute",
  "batchesAhead",
  "workers",
  // Only where the maps lie.
  "parsing",
  "segmentation",
] as const;

/** What must match for a run to be resumed, as JSON with sorted keys; written into checkpoints. */
export function configDigest(config: TrainConfig): string {
  const bound = Object.entries(config).filter(([key]) => !(free as readonly string[]).includes(key));
  return JSON.stringify(Object.fromEntries(bound.sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** What runs that differ in `but` and their seed have in common; how a run goes along is left out. */
export function settingsInCommon(config: TrainConfig, but: readonly (keyof TrainConfig)[]): Record<string, unknown> {
  const left = new Set<string>([
    ...but,
    "preset",
    "seed",
    "evaluateEvery",
    "checkpointEvery",
    "recompute",
    "batchesAhead",
    "workers",
  ]);
  return Object.fromEntries(Object.entries(config).filter(([key]) => !left.has(key)));
}

/** How two digests differ, a line for each setting: `width is 16, the checkpoint has 64`. */
export function digestDifferences(current: string, earlier: string, owner = "the checkpoint"): string[] {
  const [ours, theirs] = [current, earlier].map((text) => JSON.parse(text) as Record<string, unknown>);
  const keys = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])];
  const show = (value: unknown) => (value === undefined ? "not set" : JSON.stringify(value));
  return keys
    .filter((key) => show(ours[key]) !== show(theirs[key]))
    .map((key) => `${key} is ${show(ours[key])}, ${owner} has ${show(theirs[key])}`);
}
