/**
 * Weights of torch for the networks here: names of torchvision's ResNets, of the published code of MPN and our own, and the
 * configuration that they belong to, told from their shapes.
 */
import { UserError } from "../errors.js";
import type { StoredTensor } from "../formats/safetensors.js";
import { readTorch } from "../formats/torch.js";
import { input } from "../graph/tensor.js";
import type { ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import { Build } from "../nn/layers.js";
import { type NamedArray, ParameterStore } from "../nn/parameters.js";
import { modelConfigOf, type TrainConfig } from "./config.js";
import { type ConfigSources, loadConfig } from "./load-config.js";

export interface ForeignWeights {
  readonly config: TrainConfig;
  /** Classes of the classifiers; 1 where there are none. */
  readonly identities: number;
  /** Weights and running statistics by our names. */
  readonly weights: ReadonlyMap<string, NamedArray>;
  /** Tensors of the file that no network here has, and need not have. */
  readonly skipped: readonly string[];
}

const MODULE = "(conv\\d|bn\\d|downsample\\.\\d|layer\\d)\\.";
/**
 * Names elsewhere and what they are here, `$1` the part. The published code keeps convolution and batch norm of a part in
 * one Sequential each (models/mpn_no_ca.py:34-48). How it calls its backbone and its classifiers is not known here for
 * certain: these are what its relatives call them. Nothing of a channel attention was published.
 */
const RULES: readonly [RegExp, string][] = [
  [/^local_conv_list\.(\d+)\.0\./, "parts.$1.conv1."],
  [/^local_conv_list\.(\d+)\.1\./, "parts.$1.bn1."],
  [/^local_conv_list2\.(\d+)\.0\./, "parts.$1.conv2."],
  [/^local_conv_list2\.(\d+)\.1\./, "parts.$1.bn2."],
  [/^(?:fc_list|local_fc_list|classifier_list)\.(\d+)\.(?=weight|bias)/, "parts.$1.main_classifier."],
  [/^(?:fc_list2|local_fc_list2|classifier_list2)\.(\d+)\.(?=weight|bias)/, "parts.$1.aux_classifier."],
  [new RegExp(`^(?:base|backbone|model|resnet|resnet50)\\.(?=${MODULE})`), "backbone."],
  [new RegExp(`^(?=${MODULE})`), "backbone."],
];
/** Ours, which checkpoints written as torch files have. */
const OURS = /^(backbone|parts)\./;
/** A counter that batch norm needs only without a momentum, and ImageNet's classifier. */
const SKIPPED = /(^|\.)num_batches_tracked$|^(base\.|backbone\.|model\.)?fc\.(weight|bias)$/;

/** Our name of a tensor of torch, null where it is not known. */
export function ourName(name: string): string | null {
  const bare = name.replace(/^(module\.)+/, "");
  for (const [pattern, replacement] of RULES) if (pattern.test(bare)) return bare.replace(pattern, replacement);
  return OURS.test(bare) ? bare : null;
}

/**
 * The name that the published code gives to one of our tensors.
 * @throws UserError for a layer that was not published
 */
export function officialName(name: string): string {
  const part = /^parts\.(\d+)\.(conv|bn)([12])\.(.+)$/.exec(name);
  if (part) return `local_conv_list${part[3] === "2" ? "2" : ""}.${part[1]}.${part[2] === "conv" ? 0 : 1}.${part[4]}`;
  const classifier = /^parts\.(\d+)\.(main|aux)_classifier\.(.+)$/.exec(name);
  if (classifier) return `fc_list${classifier[2] === "aux" ? "2" : ""}.${classifier[1]}.${classifier[3]}`;
  if (name.startsWith("backbone.") && !/\.attention\d\./.test(name)) return name.replace("backbone.", "base.");
  throw new UserError(
    `${name} has no counterpart in the published code, which shares every layer of MT and AT and has no attention. ` +
      "Write the file with our own names.",
  );
}

/**
 * Reads a file of torch.save as weights of a network here.
 * @param sources a preset and settings, over what the shapes tell; by default preset `official` for names of the published
 * code, `paper` otherwise
 * @throws UserError when the file is none, has tensors whose names say nothing here, or values that are not finite
 */
export async function readForeign(path: string, sources: ConfigSources = {}): Promise<ForeignWeights> {
  const weights = new Map<string, NamedArray>();
  const [skipped, unknown]: [string[], string[]] = [[], []];
  let official = false;
  for (const [name, tensor] of await readTorch(path)) {
    const ours = ourName(name);
    if (SKIPPED.test(name.replace(/^(module\.)+/, ""))) skipped.push(name);
    else if (ours === null) unknown.push(name);
    else {
      const data = toFloat32(tensor);
      if (!data?.every(Number.isFinite))
        throw new UserError(`${path}: ${name} (${tensor.dtype}) has no finite numbers.`);
      if (weights.has(ours)) throw new UserError(`${path}: two of its tensors are ${ours} here, ${name} the second.`);
      weights.set(ours, { shape: tensor.shape, data });
      official ||= name.includes("local_conv_list");
    }
  }
  if (unknown.length > 0) {
    const more = unknown.length > 10 ? ` and ${unknown.length - 10} more` : "";
    throw new UserError(
      `${path}: no network here has ${unknown.slice(0, 10).join(", ")}${more}. Known are the names of torchvision's ` +
        "ResNets, of the published code of MPN without channel attention, and our own.",
    );
  }
  const { preset = official ? "official" : undefined, file, set = [] } = sources;
  const detected = detect(weights, path);
  const config = loadConfig({ preset, file, set: [...detected.set, ...set] });
  return { config, identities: detected.identities, weights, skipped };
}

/** What shapes say of the network. */
function detect(weights: ReadonlyMap<string, NamedArray>, path: string): { set: string[]; identities: number } {
  const names = [...weights.keys()];
  const count = (pattern: RegExp) => Math.max(0, ...names.map((n) => Number(pattern.exec(n)?.[1] ?? -1) + 1));
  const stem = weights.get("backbone.conv1.weight");
  const layers = [1, 2, 3, 4].map((stage) => count(new RegExp(`^backbone\\.layer${stage}\\.(\\d+)\\.`)));
  if (!stem || layers.includes(0)) {
    throw new UserError(`${path} has no whole ResNet: its stem or one of its four stages is missing.`);
  }
  if (!weights.has("backbone.layer1.0.conv3.weight")) {
    throw new UserError(`${path} is a ResNet of basic blocks (ResNet-18 or 34); the backbone here has bottlenecks.`);
  }
  const set = [`layers=${JSON.stringify(layers)}`, `width=${stem.shape[0]}`];
  const parts = count(/^parts\.(\d+)\./);
  if (names.some((n) => /^backbone\.attention\d/.test(n))) set.push("spatialAttention=true");
  const has = (name: string) => weights.has(`parts.0.${name}.weight`);
  const rows = (name: string) => weights.get(`parts.0.${name}.weight`)?.shape[0];
  if (parts > 0) {
    set.push(`parts=${parts}`, `partDim=${rows("conv1") ?? 0}`);
    const squeezed = rows("attention.conv1");
    set.push(`channelAttention=${squeezed !== undefined}`);
    if (squeezed) set.push(`attentionReduction=${Math.floor((rows("conv1") ?? 0) / squeezed)}`);
    if (has("aux_conv1")) set.push("shareConv1=false");
    if (has("aux_conv2")) set.push("shareConv2=false");
    if (has("main_classifier") !== has("aux_classifier")) {
      set.push(`tasks=${has("main_classifier") ? "main" : "aux"}`);
    }
  }
  return { set, identities: rows("main_classifier") ?? rows("aux_classifier") ?? 1 };
}

/** Numbers as float32; null for kinds that no weight has. */
function toFloat32({ dtype, data }: StoredTensor): Float32Array | null {
  switch (dtype) {
    case "F32":
      return data;
    case "F64":
      return Float32Array.from(data);
    case "F16":
      return Float32Array.from(data, halfToNumber);
    case "BF16":
      return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer);
    default:
      return null;
  }
}

function halfToNumber(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/**
 * Refuses weights that lack a tensor of the test-time network, or have one of another shape.
 * @throws UserError listing what is missing, or naming both shapes
 */
export function checkComplete({ config, identities, weights }: ForeignWeights, path: string): void {
  const store = new ParameterStore();
  const model: ModelConfig = modelConfigOf(config, identities);
  const [height, width] = config.imageSize;
  modelOf(model).represent(new Build(store, false), model, input("images", [1, height, width, 3]));
  const missing = store.names.filter(({ name }) => !weights.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    const more = missing.length > 10 ? ` and ${missing.length - 10} more` : "";
    throw new UserError(
      `${path} lacks ${missing.slice(0, 10).join(", ")}${more}. A backbone alone can start a training: mpn train --init.`,
    );
  }
  for (const { name, shape } of store.names) {
    const other = weights.get(name)!.shape;
    if (other.join() === shape.join()) continue;
    throw new UserError(`${path}: ${name} is [${other.join(", ")}], the network's is [${shape.join(", ")}].`);
  }
}
