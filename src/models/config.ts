import { closest } from "fastest-levenshtein";
import * as v from "valibot";
import { UserError } from "../errors.js";

/** What settings are made of; `number` is finite, `whole` exact. */
export const number = v.pipe(v.number(), v.finite());
export const whole = v.pipe(v.number(), v.safeInteger());
export const count = v.pipe(whole, v.minValue(1));

/**
 * The fields of one model and its losses, with the paper's settings as defaults. Section, equation and figure numbers
 * are the paper's.
 */
export const modelFields = {
  /** The network; the fields below describe MPN, and others take what they have of them. */
  model: v.optional(v.picklist(["mpn", "ide", "pcb", "mgn", "pyramid", "dsa"]), "mpn"),
  /** Bottleneck blocks of the backbone's four stages; ResNet-50 has [3, 4, 6, 3] (Sec. 3.1). */
  layers: v.optional(v.strictTuple([count, count, count, count]), [3, 4, 6, 3]),
  /** Channels of the stem; stage i (0 to 3) outputs 4 * width * 2^i channels, the last one 32 * width. */
  width: v.optional(count, 64),
  /** Height and width in pixels that every image is resized to (Sec. 5.1). */
  imageSize: v.optional(v.strictTuple([count, count]), [384, 128]),
  /**
   * K, the number of body parts, hence of pairs of a main task (MT) and an auxiliary task (AT) (Sec. 3.1). Stripes of PCB,
   * basic stripes of Pyramid, branches of MGN.
   */
  parts: v.optional(count, 6),
  /** Filters of both 1x1 convolutions of a part; the representation has parts * partDim values (eq. 2). */
  partDim: v.optional(count, 512),
  /** "main+aux": multi-task learning; "main": the MTs alone; "aux": the Baseline, ATs on uniform stripes (Table 1). */
  tasks: v.optional(v.picklist(["main+aux", "main", "aux"]), "main+aux"),
  /** C1-S: MT and AT of a part share the channel-selecting convolution and its batch norm (Sec. 3.3). */
  shareConv1: v.optional(v.boolean(), true),
  /** C2-S: MT and AT of a part share the projecting convolution and its batch norm (Sec. 3.3). */
  shareConv2: v.optional(v.boolean(), true),
  /**
   * Whether batch norms that MT and AT share move their running statistics by both (as published), or by MT alone, which is
   * what evaluation runs. Weights do not depend on it.
   */
  sharedStatistics: v.optional(v.boolean(), true),
  /** CA: a channel attention module per part, always shared by its MT and AT (Fig. 6). */
  channelAttention: v.optional(v.boolean(), true),
  /** CA squeezes partDim channels to partDim / attentionReduction, rounded down. */
  attentionReduction: v.optional(count, 4),
  /** RGA-S after each of the four stages (MPN*); ties the parameters to `imageSize`. */
  spatialAttention: v.optional(v.boolean(), false),
  /** Which pixels the ATs see (Sec. 3.2, Table 2): masked and cropped, cropped to the ROI, or the whole map. */
  prior: v.optional(v.picklist(["mask", "roi", "uniform"]), "mask"),
  /** Feature space alignment of MT and AT: "class" eq. 8, "sample" eq. 9, "sample-sum" and "batch" Sec. 5.3.3. */
  alignment: v.optional(v.picklist(["class", "sample", "sample-sum", "batch", "none"]), "class"),
  /** lambda of eq. 10. */
  alignmentWeight: v.optional(v.pipe(number, v.minValue(0)), 1),
  /** Whether the batch-hard triplet loss of eq. 3 is added. */
  triplet: v.optional(v.boolean(), true),
  /** alpha of eq. 3, in cosine distance; MGN's and Pyramid's is in Euclidean distance. */
  margin: v.optional(v.pipe(number, v.minValue(0)), 0.2),
  /** Factor of the triplet loss; 2 makes it one on squared distances of unit vectors, which are twice cosine distances. */
  tripletScale: v.optional(v.pipe(number, v.minValue(0)), 1),
  /** Soft sharing (Sec. 5.3.2): an L2 penalty between MT's and AT's own copies of this layer. */
  softShare: v.optional(v.picklist(["none", "conv1", "conv2"]), "none"),
  /** Weight of the soft-sharing penalty. */
  softShareWeight: v.optional(v.pipe(number, v.minValue(0)), 0),
};

const modelConfigSchema = v.strictObject({
  ...modelFields,
  /** Training people: the classes of every classifier. Market-1501 has 751. */
  identities: v.optional(count, 751),
});

/**
 * What each network other than MPN takes of the fields beside `layers`, `width` and `imageSize`, and its own defaults:
 * those of the paper that proposed it.
 */
const PEERS: Readonly<
  Record<Exclude<ModelName, "mpn">, { takes: readonly string[]; defaults: Partial<ModelSettings> }>
> = {
  ide: { takes: ["partDim"], defaults: { triplet: false } },
  pcb: { takes: ["parts", "partDim"], defaults: { partDim: 256, triplet: false } },
  mgn: { takes: ["parts", "partDim", "triplet", "margin"], defaults: { parts: 3, partDim: 256, margin: 1.2 } },
  pyramid: { takes: ["parts", "partDim", "triplet", "margin"], defaults: { partDim: 128, margin: 1.4 } },
  dsa: { takes: [], defaults: { triplet: false } },
};

/** The fields that a network takes: for MPN, and for a name that is none, all of them. */
export function fieldsOf(model: unknown): readonly string[] {
  return isPeer(model) ? ["model", "layers", "width", "imageSize", ...PEERS[model].takes] : Object.keys(modelFields);
}

/** Defaults of a network that differ from MPN's. */
function modelDefaults(model: unknown): Partial<ModelSettings> {
  return isPeer(model) ? PEERS[model].defaults : {};
}

const isPeer = (model: unknown): model is keyof typeof PEERS =>
  typeof model === "string" && Object.hasOwn(PEERS, model);

/** One model and its losses; the names are those of checkpoints' and fixtures' metadata. */
export type ModelConfig = v.InferOutput<typeof modelConfigSchema>;

/** The model's fields without `identities`, which the dataset decides. */
export type ModelSettings = Omit<ModelConfig, "identities">;
export type ModelName = ModelConfig["model"];

/**
 * Rows and columns of the feature map F for images of `imageSize` pixels (height, width). The stem's convolution and
 * pooling and the second and third stage halve the map, each rounding up; the last stage keeps it (Sec. 3.1).
 */
export function featureSize([height, width]: readonly [number, number]): [rows: number, columns: number] {
  return [Math.ceil(height / 16), Math.ceil(width / 16)];
}

/**
 * Fills in the defaults and checks a model's configuration, `source` being named in errors.
 * @throws UserError naming the field, its value and what is expected.
 */
export function parseModelConfig(input: unknown, source = "the model's configuration"): ModelConfig {
  const config = parseWith(modelConfigSchema, withModelDefaults(input), source);
  checkModelSettings(config, source);
  return config;
}

/** The input over the defaults of the model that it names; what is no set of keys is left to the validation. */
export function withModelDefaults(input: unknown): unknown {
  if (input === null || typeof input !== "object" || Array.isArray(input)) return input;
  return { ...modelDefaults((input as { model?: unknown }).model), ...input };
}

/**
 * Checks what no field can tell alone.
 * @throws UserError that says which fields disagree and what would do.
 */
export function checkModelSettings(config: ModelSettings, source = "the model's configuration"): void {
  const refuse = (message: string): never => {
    throw new UserError(`${source}: ${message}`, { exitCode: 2 });
  };
  checkStripes(config, refuse);
  if (config.model !== "mpn") {
    checkForeign(config, refuse);
    return;
  }
  if (config.channelAttention && config.attentionReduction > config.partDim) {
    refuse(
      `attentionReduction ${config.attentionReduction} leaves no channel of partDim ${config.partDim}; ` +
        `set attentionReduction to at most ${config.partDim}`,
    );
  }
  if (config.softShare !== "none") {
    const flag = config.softShare === "conv1" ? "shareConv1" : "shareConv2";
    if (config.tasks !== "main+aux") {
      refuse(`softShare "${config.softShare}" compares the layers of MT and AT, but tasks is "${config.tasks}"`);
    }
    if (config[flag]) refuse(`softShare "${config.softShare}" needs separate layers; set ${flag} to false`);
  }
}

/** Into how many stripes a network of so many parts divides the rows of its map, if it does. */
function stripesOf(config: Pick<ModelSettings, "model" | "tasks">, parts: number, rows: number): number[] {
  switch (config.model) {
    case "mpn":
      return config.tasks === "main" ? [] : [parts];
    case "pcb":
    case "pyramid":
      return [parts];
    case "mgn":
      return Array.from({ length: Math.min(parts, rows + 1) }, (_, i) => i + 1);
    default:
      return [];
  }
}

/** The tallest image that is advised. */
const TALLEST = 2048;

function checkStripes(config: ModelSettings, refuse: (message: string) => never): void {
  const [height, width] = config.imageSize;
  const [rows] = featureSize(config.imageSize);
  const fits = (parts: number) => stripesOf(config, parts, rows).every((count) => rows % count === 0);
  if (fits(config.parts)) return;
  const fitting = Array.from({ length: rows }, (_, i) => i + 1).filter(fits);
  const stripes = stripesOf(config, config.parts, rows);
  const step = stripes.reduce(commonMultiple, 16);
  const advice = step > TALLEST ? "" : `, or imageSize to [${step * Math.max(1, Math.round(height / step))}, ${width}]`;
  const what =
    stripes.length > 1
      ? `parts ${config.parts} makes up to ${config.parts} stripes, which do`
      : `parts ${config.parts} does`;
  refuse(
    `${what} not divide the ${rows} rows of the feature map (images ${height} pixels high); set parts to one of ` +
      `${fitting.join(", ")}${advice}`,
  );
}

/** The least multiple of `step`, itself one of 16, whose sixteenth `count` divides, or one beyond TALLEST. */
function commonMultiple(step: number, count: number): number {
  let multiple = step;
  while (multiple <= TALLEST && (multiple / 16) % count !== 0) multiple += step;
  return multiple;
}

/** What the network has no use for must keep its default, so that nobody believes it to matter. */
function checkForeign(config: ModelSettings, refuse: (message: string) => never): void {
  const takes = fieldsOf(config.model);
  const usual: Record<string, unknown> = { ...v.parse(modelConfigSchema, {}), ...modelDefaults(config.model) };
  for (const [key, value] of Object.entries(config)) {
    if (!Object.hasOwn(modelFields, key) || takes.includes(key) || show(value) === show(usual[key])) continue;
    refuse(`${key} is ${show(value)}, but ${config.model} has no such setting; it takes ${takes.join(", ")}`);
  }
}

/**
 * Validates `input` by a schema of flat settings.
 * @throws UserError listing every wrong key with its value and what is expected, and for every unknown key the nearest
 * known one.
 */
export function parseWith<Fields extends v.ObjectEntries>(
  schema: v.StrictObjectSchema<Fields, undefined>,
  input: unknown,
  source: string,
): v.InferOutput<v.StrictObjectSchema<Fields, undefined>> {
  if (input === null || typeof input !== "object" || Array.isArray(input)) {
    throw new UserError(`${source} must be a set of keys and values, not ${show(input)}`, { exitCode: 2 });
  }
  const known = Object.keys(schema.entries);
  // The schema itself tells the first one alone.
  const unknown = Object.keys(input)
    .filter((key) => !known.includes(key))
    .map((key) => `unknown key "${key}"; the nearest known one is "${closest(key, known)}"`);
  const given = Object.fromEntries(Object.entries(input).filter(([key]) => known.includes(key)));
  const result = v.safeParse(schema, given, { abortPipeEarly: true });
  if (result.success && unknown.length === 0) return result.output;
  const wrong = (result.issues ?? []).map((issue) => explain(issue, schema.entries, given));
  const lines = [...unknown, ...new Set(wrong)];
  throw new UserError(lines.map((line) => `${source}: ${line}`).join("\n"), { exitCode: 2 });
}

function explain(issue: v.BaseIssue<unknown>, fields: v.ObjectEntries, input: Record<string, unknown>): string {
  const [key, item] = (issue.path ?? []).map((step) => step.key);
  const value = input[String(key)];
  const items = itemsOf(fields[String(key)]);
  if (items !== undefined && Array.isArray(value) && value.length !== items)
    return `${key} is ${show(value)}; expected a list of ${items} items`;
  return `${key} is ${show(value)}${item === undefined ? "" : `, item ${Number(item) + 1}`}; expected ${expectation(issue)}`;
}

/** Length of the lists that a field takes. */
function itemsOf(field: object): number | undefined {
  if ("wrapped" in field) return itemsOf(field.wrapped as object);
  return "items" in field ? (field.items as unknown[]).length : undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  number: "a number",
  finite: "a finite number",
  safe_integer: "a whole number",
  string: "a text",
  boolean: "true or false",
  strict_tuple: "a list",
};
const LIMITS: Readonly<Record<string, string>> = {
  min_value: "at least",
  max_value: "at most",
  gt_value: "more than",
  lt_value: "less than",
};

function expectation({ type, expected, message, ...issue }: v.BaseIssue<unknown>): string {
  if (type in LIMITS) return `${LIMITS[type]} ${String(issue.requirement)}`;
  if (type === "picklist") return `one of ${expected?.replace(/^\(|\)$/g, "").replaceAll(" | ", ", ")}`;
  return KINDS[type] ?? message;
}

function show(value: unknown): string {
  if (value === undefined) return "missing";
  // JSON has no infinite numbers.
  return typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
}
