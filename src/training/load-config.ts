/** Settings of a training run from where a user gives them: presets, a YAML file, variants of the paper, the command line. */
import { readFileSync } from "node:fs";
import * as v from "valibot";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { UserError } from "../errors.js";
import {
  fieldsOf,
  type ModelConfig,
  type ModelName,
  modelFields,
  parseModelConfig,
  parseWith,
  withModelDefaults,
} from "../models/config.js";
import { checkTrainConfig, type PresetName, type TrainConfig, trainConfigSchema } from "./config.js";
import { variantOf } from "./variants.js";

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
  const config = v.parse(trainConfigSchema, withModelDefaults(settings));
  checkTrainConfig(config);
  return config;
}

function isPreset(name: unknown): name is PresetName {
  return typeof name === "string" && Object.hasOwn(presets, name);
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
