import { readFileSync } from "node:fs";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { z } from "zod";
import type { DetectorErrors } from "../data/perturb.js";
import { LABEL_SETS, type LabelSet } from "../data/prior.js";
import { UserError } from "../errors.js";
import { PRECISIONS } from "../graph/storage.js";
import {
  checkModelSettings,
  fieldsOf,
  type ModelConfig,
  type ModelName,
  modelFields,
  parseModelConfig,
  parseWith,
  withModelDefaults,
} from "../models/config.js";
import { untrainable } from "../models/dsa.js";
import { variantOf } from "./variants.js";

const count = z.int().min(1);
const fraction = z.number().min(0).max(1);
const ordered = (range: readonly [number, number]) => range[0] <= range[1];
const orderedMessage = "the smaller number first";

const trainConfigSchema = z.strictObject({
  ...modelFields,
  /** The preset that the settings started from; see `presets`. */
  preset: z.enum(["paper", "small", "official"]).default("paper"),
  /** Decides initial values, batches and augmentation; the same seed gives the same weights on the same adapter. */
  seed: z.int().min(0).max(0xffffffff).default(0),

  /** S, people of a batch (Sec. 4). */
  subjects: count.default(6),
  /** A, images of each person of a batch (Sec. 4). */
  imagesPerSubject: count.default(8),
  /** Passes over the enlarged training set (Sec. 4). */
  epochs: count.default(70),
  /** Batches of an epoch; null: as many as the enlarged training set fills, see `epochLength`. */
  iterationsPerEpoch: count.nullable().default(null),

  /** Learning rate at the start (Sec. 4). */
  lr: z.number().gt(0).default(0.01),
  /** Epochs after which the learning rate is multiplied by `lrGamma`, again and again (Sec. 4). */
  lrStep: count.default(20),
  lrGamma: z.number().gt(0).max(1).default(0.1),
  /** Factor of the learning rate for the backbone: below 1 for one that is trained already. */
  lrBackbone: z.number().gt(0).default(1),
  /** Momentum of SGD (Sec. 4). */
  momentum: z.number().min(0).lt(1).default(0.9),
  /** Weight decay of every parameter, those of batch norm included (Sec. 4). */
  weightDecay: z.number().min(0).default(5e-4),
  nesterov: z.boolean().default(false),

  /** Probability of a horizontal flip (Sec. 4). */
  flip: fraction.default(0.5),
  /** Probability of random erasing (Sec. 4). */
  erasing: fraction.default(0.5),
  /** Range of the erased area, as a fraction of the image's. */
  erasingArea: z.tuple([fraction, fraction]).refine(ordered, orderedMessage).default([0.02, 0.4]),
  /** Range of the erased rectangle's height / width. */
  erasingAspect: z
    .tuple([z.number().gt(0), z.number().gt(0)])
    .refine(ordered, orderedMessage)
    .default([0.3, 3.33]),
  /** Red, green and blue of erased pixels, in normalised values; 0 is the mean colour. */
  erasingFill: z.tuple([z.number(), z.number(), z.number()]).default([0, 0, 0]),
  /** How many times random translation enlarges the training set (Sec. 4); 1 leaves the images where they are. */
  translationFolds: count.default(5),
  /** Furthest translation, as a fraction of the image's height and width. */
  translationFraction: fraction.default(0.05),

  /** Epochs between evaluations; 0: only after the last one. */
  evaluateEvery: z.int().min(0).default(10),
  /** Epochs between checkpoints; one is also written after the last epoch and on interruption. */
  checkpointEvery: count.default(1),
  /** Whether the evaluated features are averaged with those of the flipped image. */
  flipTest: z.boolean().default(true),
  /** How images are resized for evaluation and extraction; training images are always resized bilinearly. */
  testInterpolation: z.enum(["bilinear", "bicubic"]).default("bilinear"),

  /** Detector errors added to every picture and its maps (data/perturb.ts): 0 none, 1 heavy. */
  perturb: z.number().min(0).max(2).default(0),
  /** Decides the detector errors; apart from `seed`, so that runs of other seeds see the same pictures. */
  perturbSeed: z.int().min(0).max(0xffffffff).default(0),

  /** Whether normalised maps are made again in the backward pass instead of kept: less memory for the same weights. */
  recompute: z.boolean().default(true),
  /**
   * How feature maps and their gradients are stored. float16 halves their memory and is a little less exact; everything is
   * computed, and parameters are kept, in float32 either way. It wants an adapter with shader-f16.
   */
  precision: z.enum(PRECISIONS).default("float32"),
  /**
   * What the loss is multiplied by in float16, so that small gradients do not become 0: a power of two, or "dynamic": halved
   * by a step whose gradients are not finite, which is skipped, and doubled after 2000 good ones.
   */
  lossScale: z
    .union([
      z.literal("dynamic"),
      z
        .number()
        .gt(0)
        .refine((v) => Number.isInteger(Math.log2(v)), "a power of two"),
    ])
    .default("dynamic"),
  /** Batches decoded ahead of the GPU. */
  batchesAhead: count.default(2),
  /** Threads that decode images; null: one for each core but one, at least one. */
  workers: count.nullable().default(null),
  /** The label set of the parsing maps that coarse priors are made from (Sec. 3.2). */
  labels: z.enum(Object.keys(LABEL_SETS) as [LabelSet, ...LabelSet[]]).default("lip"),
  /** Folders of parsing and of segmentation maps; null: the usual places in the dataset, see `findMaps`. */
  parsing: z.string().nullable().default(null),
  segmentation: z.string().nullable().default(null),
});

/** Everything that decides a training run except the dataset, which brings `identities`. */
export type TrainConfig = z.infer<typeof trainConfigSchema>;
export type PresetName = TrainConfig["preset"];

/**
 * Named settings; what a preset leaves out keeps its default, which is the paper's. `small` learns within minutes on a
 * CPU: a shallow narrow backbone and small images. `official` does what the published code of MPN does where that departs
 * from the paper; that its batch norms are shared by MT and AT, each moving the running statistics in turn (models/
 * mpn_no_ca.py:78-97), holds for every preset, and its CosineSimilarity's eps of 1e-6 (train_mpn_no_ca.py:128-135) is no
 * setting, since the norms of means of features stay far above it.
 */
export const presets: Record<PresetName, Partial<TrainConfig>> = {
  paper: {},
  small: {
    layers: [1, 1, 1, 1],
    width: 12,
    imageSize: [96, 32],
    partDim: 64,
    epochs: 8,
    lr: 0.02,
    lrBackbone: 1,
    lrStep: 5,
    erasing: 0.2,
    evaluateEvery: 2,
  },
  official: {
    // Uniform stripes and no channel attention are all that was published (models/mpn_no_ca.py:88-94).
    prior: "uniform",
    channelAttention: false,
    // Margin 0.40 on the squared distance of unit vectors (train_mpn_no_ca.py:37, utils/losses.py:25-26, 140-143), which is
    // twice the cosine distance: margin 0.2 of eq. 3, with the loss and its gradient doubled.
    margin: 0.2,
    tripletScale: 2,
    // train_mpn_no_ca.py:206-210
    nesterov: true,
    // CIFAR's mean colour, written into images that are normalised already (random_erasing.py:23-53).
    erasingFill: [0.4914, 0.4822, 0.4465],
    // Images are resized bicubically at test time only (test.py:52, train_mpn_no_ca.py:57-63).
    testInterpolation: "bicubic",
  },
};

/**
 * How models other than MPN are trained where that differs and is known. IDE's recipe is not published; this is that of the
 * public baseline whose head it has (layumi/Person_reID_baseline_pytorch), in the batches of MPN.
 */
const recipes: Partial<Record<ModelName, Partial<TrainConfig>>> = {
  ide: { epochs: 60, lr: 0.05, lrBackbone: 0.1, lrStep: 40, nesterov: true },
};

export interface ConfigSources {
  /** Name of a preset; otherwise the file's own `preset`, otherwise "paper". */
  preset?: string;
  /** Name of a model; otherwise the settings' own `model`, otherwise "mpn". */
  model?: string;
  /** Path of a YAML file of settings. */
  file?: string;
  /** Name of a variant of the paper's tables (training/variants.ts). */
  variant?: string;
  /** Settings as `key=value`, the value in YAML: `lr=0.02`, `imageSize=[96, 32]`. */
  set?: readonly string[];
}

/** What a preset says to a model: settings of other models are left out. */
function presetFor(name: PresetName, model: unknown): Partial<TrainConfig> {
  const takes = fieldsOf(model);
  const said = Object.entries(presets[name]).filter(([key]) => !Object.hasOwn(modelFields, key) || takes.includes(key));
  return Object.fromEntries(said);
}

/** A model at the size of a preset, for what needs no training run. */
export function presetModel(name: PresetName, settings: Partial<ModelConfig>): ModelConfig {
  const said = Object.entries(presetFor(name, settings.model)).filter(([key]) => Object.hasOwn(modelFields, key));
  return parseModelConfig({ ...Object.fromEntries(said), ...settings }, `the preset ${name}`);
}

/**
 * Settings from the defaults of the model, over them the preset, the YAML file, the variant and the `key=value`
 * settings, the last one winning.
 * @throws UserError for an unreadable file, an unknown key, preset or variant, a value of the wrong kind, and settings that do
 * not go together.
 */
export function loadConfig({ preset, model, file, variant, set = [] }: ConfigSources = {}): TrainConfig {
  const fromFile = file === undefined ? {} : readSettings(file);
  const fromCommand: Record<string, unknown> = Object.fromEntries(set.map(parseSetting));
  if (model !== undefined) fromCommand.model = model;
  const name = preset ?? fromFile.preset ?? "paper";
  if (!isPreset(name)) {
    const where = preset === undefined ? file : "--preset";
    throw new UserError(
      `${where}: there is no preset ${JSON.stringify(name)}; use ${Object.keys(presets).join(", ")}`,
      {
        exitCode: 2,
      },
    );
  }
  // Each source is validated by itself first, so that an error names the source that has to be changed.
  if (file !== undefined) parseWith(trainConfigSchema, fromFile, file);
  parseWith(trainConfigSchema, fromCommand, model === undefined ? "--set" : "--model and --set");
  const ofVariant = variant === undefined ? {} : variantOf(variant).settings;
  const given: Record<string, unknown> = { ...fromFile, ...ofVariant, ...fromCommand };
  const settings = { ...recipes[given.model as ModelName], ...presetFor(name, given.model), ...given, preset: name };
  const config = trainConfigSchema.parse(withModelDefaults(settings));
  checkTrainConfig(config);
  return config;
}

/**
 * Validates settings that a checkpoint or a caller brings, `source` being named in errors.
 * @throws UserError as `loadConfig` does.
 */
export function parseTrainConfig(input: unknown, source = "the configuration"): TrainConfig {
  const config = parseWith(trainConfigSchema, withModelDefaults(input), source);
  checkTrainConfig(config, source);
  return config;
}

function isPreset(name: unknown): name is PresetName {
  return typeof name === "string" && Object.hasOwn(presets, name);
}

function checkTrainConfig(config: TrainConfig, source = "the configuration"): void {
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

/** Settings of a YAML file as they stand there, not yet validated. @throws UserError when it is missing or no YAML */
export function readSettings(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (cause as Error).message;
    throw new UserError(`cannot read the configuration ${file}: ${reason}`, { cause });
  }
  try {
    // An empty file is an empty set of settings; anything else that is not a map is refused by the validation.
    return parseYaml(text) ?? {};
  } catch (cause) {
    if (!(cause instanceof YAMLParseError)) throw cause;
    throw new UserError(`${file} is not valid YAML: ${cause.message}`, { exitCode: 2, cause });
  }
}

function parseSetting(setting: string): [key: string, value: unknown] {
  const split = setting.indexOf("=");
  const key = setting.slice(0, split).trim();
  if (split < 1 || key === "") {
    throw new UserError(`--set ${setting}: expected key=value, such as --set lr=0.02`, { exitCode: 2 });
  }
  if (key === "preset") throw new UserError(`--set ${setting}: choose a preset with --preset`, { exitCode: 2 });
  try {
    return [key, parseYaml(setting.slice(split + 1))];
  } catch (cause) {
    throw new UserError(`--set ${setting}: the value is not valid YAML: ${(cause as Error).message}`, {
      exitCode: 2,
      cause,
    });
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
