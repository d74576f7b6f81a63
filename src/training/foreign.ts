/**
 * Weights of torch for the networks here: names of torchvision's ResNets, of the published code of MPN and our own, and the
 * configuration that they belong to, told from their shapes.
 */
import { UserError } from "../errors.js";
import type { StoredTensor } from "../formats/safetensors.js";
import { readTorch } from "../formats/torch.js";
import { input } from "../graph/tensor.js";
import type { ModelConfig, ModelName } from "../models/config.js";
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
 * Names elsewhere and what they are here, `$1` the part. What the published code of MPN saves follows from how its modules
 * are nested (models/mpn_no_ca.py, models/base.py):
 * - MPN's `base` is a Sequential of a ResNet's children without the last two, so that they have numbers: 0 the stem's
 *   convolution, 1 its batch norm, 4 to 7 the stages (2 and 3 have no weights);
 * - convolution and batch norm of a part are one Sequential each;
 * - the "student" sees the whole map and is what the published test runs, hence the MT; the "teacher" sees stripes: the AT;
 * - IDE's embedding stands where its ResNet's classifier was, and its own classifier is a Sequential of one layer.
 * The network with channel attention is not published, its module is (models/CA_2.py), from `channel_attn` inwards. Unknown
 * is what holds the modules of the parts: a list of any name is taken, anything else refused. Where a module acts is the
 * paper's (Fig. 6). The last two rules are for torchvision and what wraps its networks.
 */
const RULES: readonly [RegExp, string][] = [
  [/^base\.0\./, "backbone.conv1."],
  [/^base\.1\./, "backbone.bn1."],
  [/^base\.4\./, "backbone.layer1."],
  [/^base\.5\./, "backbone.layer2."],
  [/^base\.6\./, "backbone.layer3."],
  [/^base\.7\./, "backbone.layer4."],
  [/^local_conv_list\.(\d+)\.0\./, "parts.$1.conv1."],
  [/^local_conv_list\.(\d+)\.1\./, "parts.$1.bn1."],
  [/^local_conv_list2\.(\d+)\.0\./, "parts.$1.conv2."],
  [/^local_conv_list2\.(\d+)\.1\./, "parts.$1.bn2."],
  [/^Sfc_list\.(\d+)\./, "parts.$1.main_classifier."],
  [/^Tfc_list\.(\d+)\./, "parts.$1.aux_classifier."],
  // One list of modules, one for each part: two such lists would give two tensors of a name, which is refused.
  [/^\w+\.(\d+)\.channel_attn\.conv([12])\.conv\./, "parts.$1.attention.conv$2."],
  [/^\w+\.(\d+)\.channel_attn\.conv([12])\.bn\./, "parts.$1.attention.bn$2."],
  [/^model\.fc\.0\./, "embedding."],
  [/^model\.fc\.1\./, "bn."],
  [/^classifier\.0\./, "classifier."],
  [new RegExp(`^(?:base|backbone|model|resnet|resnet50)\\.(?=${MODULE})`), "backbone."],
  [new RegExp(`^(?=${MODULE})`), "backbone."],
];
/** Ours, which checkpoints written as torch files have. */
const OURS = /^(backbone|parts)\.|^(embedding|bn|classifier)\.\w+$/;
/** What tells a file of the published code, MPN's or IDE's. */
const PUBLISHED = /^local_conv_list\.|^model\.fc\.0\./;
/** A counter that batch norm needs only without a momentum, and ImageNet's classifier. */
const SKIPPED = /(^|\.)num_batches_tracked$|^(base\.|backbone\.|model\.)?fc\.(weight|bias)$/;

/** Without what DataParallel puts before every name. */
const bareName = (name: string) => name.replace(/^(module\.)+/, "");

/** Our name of a tensor of torch, null where it is not known. */
export function ourName(name: string): string | null {
  const bare = bareName(name);
  for (const [pattern, replacement] of RULES) if (pattern.test(bare)) return bare.replace(pattern, replacement);
  return OURS.test(bare) ? bare : null;
}

/** Children of a ResNet by their place in the published MPN's `base`. */
const BASE: Readonly<Record<string, number>> = { conv1: 0, bn1: 1, layer1: 4, layer2: 5, layer3: 6, layer4: 7 };

/**
 * The name that the published code gives to one of our tensors.
 * @throws UserError for a layer, or a network, that was not published
 */
export function officialName(name: string, model: ModelName = "mpn"): string {
  const [, child, rest] = /^backbone\.(\w+)\.(.+)$/.exec(name) ?? [];
  if (model === "ide") {
    if (child in BASE) return `model.${child}.${rest}`;
    const head = /^(embedding|bn|classifier)\.(.+)$/.exec(name);
    if (head) return `${{ embedding: "model.fc.0", bn: "model.fc.1", classifier: "classifier.0" }[head[1]]}.${head[2]}`;
  } else if (model === "mpn") {
    if (child in BASE) return `base.${BASE[child]}.${rest}`;
    const part = /^parts\.(\d+)\.(conv|bn)([12])\.(.+)$/.exec(name);
    if (part) return `local_conv_list${part[3] === "2" ? "2" : ""}.${part[1]}.${part[2] === "conv" ? 0 : 1}.${part[4]}`;
    const classifier = /^parts\.(\d+)\.(main|aux)_classifier\.(.+)$/.exec(name);
    if (classifier) return `${classifier[2] === "main" ? "S" : "T"}fc_list.${classifier[1]}.${classifier[3]}`;
  }
  throw new UserError(
    `${name} of ${model} has no counterpart in the published code: that has IDE, and MPN whose every layer MT and AT ` +
      "share, without attention. Write the file with our own names (--names ours).",
  );
}

/**
 * Whether weights have the classifiers that the published code asks for: it loads strictly. The counters of batch norm are
 * not asked for, since torch adds them where a state dict says no version, as files from before there were any.
 */
export function loadsStrictly(weights: ReadonlyMap<string, NamedArray>, model: ModelName): boolean {
  const needed = model === "ide" ? ["classifier"] : ["parts.0.main_classifier", "parts.0.aux_classifier"];
  return needed.every((name) => weights.has(`${name}.weight`));
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
    if (SKIPPED.test(bareName(name))) skipped.push(name);
    else if (ours === null) unknown.push(name);
    else {
      const data = toFloat32(tensor);
      if (!data?.every(Number.isFinite))
        throw new UserError(`${path}: ${name} (${tensor.dtype}) has no finite numbers.`);
      if (weights.has(ours)) throw new UserError(`${path}: two of its tensors are ${ours} here, ${name} the second.`);
      weights.set(ours, { shape: tensor.shape, data });
      official ||= PUBLISHED.test(bareName(name));
    }
  }
  if (unknown.length > 0) {
    const more = unknown.length > 10 ? ` and ${unknown.length - 10} more` : "";
    throw new UserError(
      `${path}: no network here has ${unknown.slice(0, 10).join(", ")}${more}. Known are the names of torchvision's ` +
        "ResNets, of the published code's MPN and IDE, and our own.",
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
  const embedding = weights.get("embedding.weight");
  if (embedding) set.push("model=ide", `partDim=${embedding.shape[0]}`);
  else if (parts > 0) {
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
  const classes = weights.get("classifier.weight")?.shape[0];
  return { set, identities: rows("main_classifier") ?? rows("aux_classifier") ?? classes ?? 1 };
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
