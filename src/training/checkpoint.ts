/**
 * Checkpoints: weights and running statistics by their torch names, momenta as `momentum.<name>`, and in the metadata
 * everything else that a run needs to go on exactly where it was. Written aside and renamed.
 */
import type { PkSamplerState } from "../data/sampler.js";
import { NotFiniteError, UserError } from "../errors.js";
import { SafetensorsReader, type StoredTensor, writeSafetensors } from "../formats/safetensors.js";
import { isTorchFile } from "../formats/torch-file.js";
import type { Device } from "../gpu/device.js";
import type { NamedArray, ParameterStore } from "../nn/parameters.js";
import { configDigest, digestDifferences, parseTrainConfig, type TrainConfig } from "./config.js";
import type { ForeignWeights } from "./foreign.js";
import type { LossScaleState } from "./loss-scale.js";

const FORMAT = "mpn-webgpu checkpoint 1";
const MOMENTUM = "momentum.";

export interface CheckpointState {
  readonly config: TrainConfig;
  /** Person of each class, so that the classifiers keep their meaning. */
  readonly pids: readonly number[];
  /** Steps done. */
  readonly step: number;
  /** Where the sampler goes on; absent in weights published without it. */
  readonly sampler: PkSamplerState | null;
  /** State of the loss scale of a run whose gradients are rounded to float16. */
  readonly lossScale?: LossScaleState;
}

export interface Checkpoint extends CheckpointState {
  readonly path: string;
  readonly weights: ReadonlyMap<string, NamedArray>;
  readonly momenta: ReadonlyMap<string, NamedArray>;
}

/**
 * @param momenta whether the run is to be resumed; weights for use alone leave them out
 * @throws NotFiniteError when a value is not finite, UserError when the disk is full; an earlier file stays as it was
 */
export async function writeCheckpoint(
  path: string,
  device: Device,
  store: ParameterStore,
  state: CheckpointState,
  momenta = true,
): Promise<void> {
  const tensors: [string, StoredTensor][] = [];
  const collect = (prefix: string, values: ReadonlyMap<string, NamedArray>) => {
    for (const [name, { shape, data }] of values) {
      // The losses of a step are finite before its update; what the update made of the weights shows here.
      if (!data.every(Number.isFinite)) {
        throw new NotFiniteError(
          `Step ${state.step}: ${prefix}${name} is not finite any more. Training stopped; ${path} was not written, an ` +
            "earlier one is kept. Train with a smaller lr.",
        );
      }
      tensors.push([prefix + name, { dtype: "F32", shape: [...shape], data }]);
    }
  };
  collect("", await store.read(device));
  if (momenta) collect(MOMENTUM, await store.readMomenta(device));
  await writeSafetensors(path, tensors, {
    format: FORMAT,
    config: JSON.stringify(state.config),
    pids: JSON.stringify(state.pids),
    step: String(state.step),
    ...(state.sampler && { sampler: JSON.stringify(state.sampler) }),
    ...(state.lossScale && { lossScale: JSON.stringify(state.lossScale) }),
  });
}

export const CLASSIFIER = /(^|[._])classifier\./;

/** Layers that a network does without once it is trained: classifiers, and what only the ATs have. */
export const TRAINING_ONLY = new RegExp(`${CLASSIFIER.source}|\\.aux_`);

/** Writes what `extract` and `evaluate` need of a checkpoint: no momenta, no sampler, no classifiers. */
export async function writeWeights(path: string, checkpoint: Checkpoint): Promise<void> {
  const tensors = [...checkpoint.weights]
    .filter(([name]) => !TRAINING_ONLY.test(name))
    .map(([name, { shape, data }]): [string, StoredTensor] => [name, { dtype: "F32", shape: [...shape], data }]);
  await writeSafetensors(path, tensors, {
    format: FORMAT,
    config: JSON.stringify(checkpoint.config),
    pids: JSON.stringify(checkpoint.pids),
    step: String(checkpoint.step),
  });
}

/**
 * Whether a file is one of `writeWeights`, so that nothing that only training needs would be lost with it.
 * @throws UserError when it is no safetensors file
 */
export async function holdsWeightsAlone(path: string): Promise<boolean> {
  const reader = await SafetensorsReader.open(path);
  await reader.close();
  const ofTraining = (name: string) => name.startsWith(MOMENTUM) || TRAINING_ONLY.test(name);
  return reader.metadata.format === FORMAT && ![...reader.entries.keys()].some(ofTraining);
}

/** A checkpoint whose values are still on disk, or those of a torch file. */
export interface OpenCheckpoint extends CheckpointState {
  readonly path: string;
  /** Names of weights and running statistics. */
  readonly names: readonly string[];
  /**
   * Loads the values for use, not for training, each once through the same memory.
   * @throws UserError when it is a checkpoint of another model
   */
  restore(device: Device, store: ParameterStore): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a checkpoint, or reads weights that torch saved. `close` it when done.
 * @throws UserError when the file is neither, or damaged
 */
export async function openCheckpoint(path: string): Promise<OpenCheckpoint> {
  if (await isTorchFile(path)) {
    const checkpoint = await readTorchCheckpoint(path);
    const { config, pids, step, sampler, weights } = checkpoint;
    return {
      path,
      config,
      pids,
      step,
      sampler,
      names: [...weights.keys()],
      restore: async (device, store) => restore(device, store, checkpoint),
      close: async () => {},
    };
  }
  const reader = await SafetensorsReader.open(path);
  try {
    const state = stateOf(reader, path);
    const weights = new Map([...reader.entries].filter(([name]) => !name.startsWith(MOMENTUM)));
    return {
      ...state,
      path,
      names: [...weights.keys()],
      restore: async (device, store) => {
        const loaded = store.loadFrom(device, weights, path, (names) => reader.view(names) as Map<string, NamedArray>);
        refuseOthers(path, loaded, TRAINING_ONLY);
      },
      close: () => reader.close(),
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * Reads a checkpoint, or weights that torch saved: of those no person is known, so that classifiers are never taken over.
 * @throws UserError when the file is neither, or damaged
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  if (await isTorchFile(path)) return readTorchCheckpoint(path);
  const reader = await SafetensorsReader.open(path);
  try {
    const state = stateOf(reader, path);
    const weights = new Map<string, NamedArray>();
    const momenta = new Map<string, NamedArray>();
    for (const name of reader.entries.keys()) {
      const array = reader.read(name) as NamedArray;
      if (name.startsWith(MOMENTUM)) momenta.set(name.slice(MOMENTUM.length), array);
      else weights.set(name, array);
    }
    return { ...state, path, weights, momenta };
  } finally {
    await reader.close();
  }
}

async function readTorchCheckpoint(path: string): Promise<Checkpoint> {
  const { readForeign } = await import("./foreign.js");
  return foreignCheckpoint(path, await readForeign(path));
}

/** What the header says. */
function stateOf({ metadata, entries }: SafetensorsReader, path: string): CheckpointState {
  if (metadata.format !== FORMAT) {
    throw new UserError(
      `${path} is a safetensors file, but no checkpoint of mpn-webgpu (its metadata says format ${JSON.stringify(metadata.format ?? null)}, ` +
        `expected "${FORMAT}").`,
    );
  }
  for (const { name, dtype } of entries.values())
    if (dtype !== "F32") throw new UserError(`${path}: ${name} is ${dtype}; checkpoints hold F32.`);
  const field = (key: string): unknown => {
    try {
      return JSON.parse(metadata[key]);
    } catch (cause) {
      throw new UserError(`${path}: the metadata field ${key} is missing or damaged; the checkpoint cannot be used.`, {
        cause,
      });
    }
  };
  return {
    config: parseTrainConfig(field("config"), path),
    pids: field("pids") as number[],
    step: field("step") as number,
    sampler: metadata.sampler === undefined ? null : (field("sampler") as PkSamplerState),
    ...(metadata.lossScale !== undefined && { lossScale: field("lossScale") as LossScaleState }),
  };
}

/** Weights of torch as a checkpoint; people are numbered below zero, which no dataset does. */
export function foreignCheckpoint(path: string, { config, identities, weights }: ForeignWeights): Checkpoint {
  const pids = Array.from({ length: identities }, (_, i) => -1 - i);
  return { path, config, pids, step: 0, sampler: null, weights, momenta: new Map() };
}

/**
 * Loads a checkpoint's values; one of another model is refused. By default it is loaded for use, not for training.
 * @param unused names that the checkpoint may have although this part of the model does not, such as the classifiers
 */
export function restore(
  device: Device,
  store: ParameterStore,
  checkpoint: Checkpoint,
  options: { momenta: boolean; unused?: RegExp } = { momenta: false, unused: TRAINING_ONLY },
): void {
  refuseOthers(checkpoint.path, store.load(device, checkpoint.weights, checkpoint.path), options.unused);
  if (options.momenta) store.loadMomenta(device, checkpoint.momenta);
}

/** @throws UserError unless the model found all its names in the file, and the file no more than may be left out */
function refuseOthers(
  path: string,
  { missing, unknown }: { missing: readonly string[]; unknown: readonly string[] },
  unused?: RegExp,
): void {
  const extra = unknown.filter((name) => !unused?.test(name));
  const few = (names: readonly string[]) =>
    `${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
  const refuse = (problem: string) => {
    throw new UserError(`${path} ${problem}; it is a checkpoint of another configuration.`);
  };
  if (missing.length > 0) refuse(`lacks ${few(missing)}`);
  if (extra.length > 0) refuse(`has ${few(extra)}, which this model does not know`);
}

/** What became of a checkpoint's and of a network's tensors, by name, when one was started from the other. */
export interface Initialised {
  readonly loaded: readonly string[];
  /** In the checkpoint only: classifiers of other people, layers of another network. */
  readonly skipped: readonly string[];
  /** In the network only, or of another shape there: they keep their initial values. */
  readonly missing: readonly string[];
}

/**
 * Starts a network from whatever of a checkpoint fits it by name and shape; the checkpoint may be another model's, such as
 * IDE's for MPN. Classifiers are taken over only for the same people.
 * @param initialName see `ReidModel.initialName`
 * @throws UserError when no layer of the backbone fits: then it is a network of another size
 */
export function initialise(
  device: Device,
  store: ParameterStore,
  checkpoint: Checkpoint,
  pids: readonly number[],
  initialName: (name: string) => string = (name) => name,
): Initialised {
  const { weights, path } = checkpoint;
  const samePeople = checkpoint.pids.join() === pids.join();
  const values = new Map([...weights].filter(([name]) => samePeople || !CLASSIFIER.test(name)));
  // A branch that has a layer of its own in the checkpoint, of the same model, takes that one.
  const nameIn = (name: string) => (values.has(name) ? name : initialName(name));
  const { loaded, kept, used } = store.loadFitting(device, values, nameIn);
  if (!loaded.some((name) => name.startsWith("backbone."))) {
    throw new UserError(
      `${path}: no layer of the backbone fits this network; its width is ${checkpoint.config.width}, its layers ` +
        `[${checkpoint.config.layers.join(", ")}]. Train with the same, or start from another checkpoint.`,
    );
  }
  return { loaded, skipped: [...weights.keys()].filter((name) => !used.has(name)), missing: kept };
}

/** @throws UserError naming every setting that differs and would change the weights a resumed run reaches */
export function checkResumable(checkpoint: Checkpoint, config: TrainConfig, pids: readonly number[]): void {
  const differences = digestDifferences(configDigest(config), configDigest(checkpoint.config));
  if (differences.length > 0) {
    throw new UserError(
      `${checkpoint.path} is a checkpoint of another configuration: ${differences.join("; ")}. Resume with its settings, or train into another folder.`,
    );
  }
  if (checkpoint.pids.join() !== pids.join()) {
    throw new UserError(
      `${checkpoint.path} was trained on ${checkpoint.pids.length} people, not the same as the ${pids.length} of this dataset. ` +
        "Resume with the same dataset, or train into another folder.",
    );
  }
  if (!checkpoint.sampler || checkpoint.momenta.size === 0) {
    throw new UserError(`${checkpoint.path} holds weights alone (no momenta, no sampler state); it cannot be resumed.`);
  }
}
