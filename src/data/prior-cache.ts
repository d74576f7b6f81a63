/** The coarse priors of a training set, made from its maps and kept in one file. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join, parse, relative } from "node:path";
import { UserError } from "../errors.js";
import { readSafetensors, type StoredTensor, writeSafetensors } from "../formats/safetensors.js";
import { type Dataset, SUBSET_FOLDERS } from "./dataset.js";
import { type LabelMap, perturbLabels, readLabelMap } from "./label-map.js";
import type { DetectorErrors } from "./perturb.js";
import { coarsePrior, type Grid, type LabelSet, type Prior, wholePrior } from "./prior.js";

export interface PriorSettings extends Grid {
  /** Label set of the parsing maps. */
  labels: LabelSet;
  /** The maps are seen with the detector errors of their pictures. */
  perturb?: DetectorErrors;
}

export interface PriorCounts {
  /** Images with a prior of their own. */
  reliable: number;
  /** Images with maps that give none: head or legs missing, or a segmentation map alone. They stay whole. */
  unreliable: number;
  /** Images without maps. They stay whole. */
  missing: number;
}

export interface PriorSet {
  /** One for each training image of the dataset, in its order. */
  priors: Prior[];
  counts: PriorCounts;
  /** The file that keeps them; null where there are no maps or no folder could be written. */
  file: string | null;
}

export interface BuildOptions {
  /** Where the cache goes when the dataset's folder is read-only. */
  cacheFolder?: string;
  onProgress?(done: number, total: number): void;
}

/** `<root>/<folder>/<stem>.png` belongs to `<root>/bounding_box_train/<stem>.jpg`; the first that is there is taken. */
const PARSING_FOLDERS = ["parsing"];
/** The second one is MGCAM's naming of its published masks. */
const SEGMENTATION_FOLDERS = ["segmentation", `${SUBSET_FOLDERS.train}_seg`];
/** Part of the cache's digest: raise it when priors are computed otherwise. */
const VERSION = 1;

/** The maps of one image; null for one that is not there. */
interface MapPaths {
  parsing: string | null;
  segmentation: string | null;
}

/**
 * The priors of the training images: from the cache when it fits settings, names and maps, else made anew and cached.
 *
 * @throws UserError naming a map that cannot be read
 */
export async function loadPriors(
  dataset: Dataset,
  settings: PriorSettings,
  options: BuildOptions = {},
): Promise<PriorSet> {
  const maps = await findMaps(dataset);
  const digest = await digestOf(dataset, settings, maps);
  for (const file of cacheFiles(dataset, settings, options)) {
    const cached = await readCache(file, settings, digest);
    if (cached) return cached;
  }
  return build(dataset, settings, maps, digest, options);
}

/**
 * Makes the priors of the training images and caches them, whatever the cache holds.
 *
 * @throws UserError naming a map that cannot be read
 */
export async function buildPriors(
  dataset: Dataset,
  settings: PriorSettings,
  options: BuildOptions = {},
): Promise<PriorSet> {
  const maps = await findMaps(dataset);
  return build(dataset, settings, maps, await digestOf(dataset, settings, maps), options);
}

async function build(
  dataset: Dataset,
  settings: PriorSettings,
  maps: readonly MapPaths[],
  digest: string,
  options: BuildOptions,
): Promise<PriorSet> {
  const counts: PriorCounts = { reliable: 0, unreliable: 0, missing: 0 };
  const priors: Prior[] = [];
  for (const [i, paths] of maps.entries()) {
    const prior = await priorFromMaps(dataset.train[i].path, paths, settings);
    const kind = prior.reliable ? "reliable" : paths.parsing || paths.segmentation ? "unreliable" : "missing";
    counts[kind]++;
    priors.push(prior);
    options.onProgress?.(priors.length, maps.length);
  }
  const set: PriorSet = { priors, counts, file: null };
  if (counts.missing < priors.length) set.file = await writeCache(dataset, settings, set, digest, options);
  return set;
}

async function priorFromMaps(
  image: string,
  { parsing, segmentation }: MapPaths,
  settings: PriorSettings,
): Promise<Prior> {
  // A segmentation map cannot tell whether head and legs are in the picture, so that alone it is no reliable prior.
  if (!parsing) return wholePrior(settings);
  const { perturb } = settings;
  const seen = async (path: string): Promise<LabelMap> => {
    const map = await readLabelMap(path);
    return perturb ? perturbLabels(map, image, perturb) : map;
  };
  return coarsePrior(await seen(parsing), segmentation ? await seen(segmentation) : null, settings);
}

async function findMaps({ root, train }: Dataset): Promise<MapPaths[]> {
  const finder = async (folders: readonly string[]) => {
    const there = await Promise.all(folders.map((folder) => listMaps(join(root, folder))));
    return (stem: string) => there.find((paths) => paths.has(stem))?.get(stem) ?? null;
  };
  const [parsingOf, segmentationOf] = await Promise.all([finder(PARSING_FOLDERS), finder(SEGMENTATION_FOLDERS)]);
  return train.map(({ name }) => {
    const stem = parse(name).name;
    return { parsing: parsingOf(stem), segmentation: segmentationOf(stem) };
  });
}

/** Paths of a folder's PNG files by stem; empty without the folder. */
async function listMaps(folder: string): Promise<Map<string, string>> {
  try {
    const files = (await readdir(folder)).map((name) => parse(name)).filter(({ ext }) => ext.toLowerCase() === ".png");
    return new Map(files.map(({ name, base }) => [name, join(folder, base)]));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw new UserError(`Cannot read the folder of maps ${folder}: ${(cause as Error).message}`, { cause });
  }
}

/** Changes whenever the priors might: with settings, names of images, and path, size or time of any map. */
async function digestOf({ root, train }: Dataset, settings: PriorSettings, maps: readonly MapPaths[]): Promise<string> {
  const { rows, cols, labels, perturb } = settings;
  const describe = async (path: string | null) => {
    if (!path) return null;
    const { size, mtimeMs } = await stat(path);
    return [relative(root, path), size, mtimeMs];
  };
  const hash = createHash("sha256").update(
    JSON.stringify([VERSION, rows, cols, labels, ...(perturb ? [perturb.amount, perturb.seed] : [])]),
  );
  for (const [i, { parsing, segmentation }] of maps.entries()) {
    hash.update(JSON.stringify([train[i].name, await describe(parsing), await describe(segmentation)]));
  }
  return hash.digest("hex");
}

/** Where the cache may lie, best place first: in the dataset, or in the user's cache folder. */
function cacheFiles({ root, name }: Dataset, settings: PriorSettings, options: BuildOptions): string[] {
  const { rows, cols, labels, perturb } = settings;
  const folder = options.cacheFolder ?? join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "mpn-webgpu");
  const errors = perturb ? `-perturbed-${perturb.amount}-${perturb.seed}` : "";
  const file = `prior-${labels}-${rows}x${cols}${errors}.safetensors`;
  const key = createHash("sha256").update(root).digest("hex").slice(0, 12);
  return [join(root, file), join(folder, `${name}-${key}-${file}`)];
}

/** The cached priors; null where there is no such file, or a damaged one, or one made of something else. */
async function readCache(file: string, { rows, cols }: PriorSettings, digest: string): Promise<PriorSet | null> {
  try {
    const { metadata, tensors } = await readSafetensors(file);
    if (metadata.digest !== digest) return null;
    const tensor = (name: string) => tensors.get(name)!.data as Uint8Array | Int32Array;
    const mask = tensor("mask") as Uint8Array;
    const [roi, reliable] = [tensor("roi"), tensor("reliable")];
    const priors = Array.from(reliable, (flag, i) => ({
      rows,
      cols,
      mask: mask.subarray(i * rows * cols, (i + 1) * rows * cols),
      top: roi[2 * i],
      bottom: roi[2 * i + 1],
      reliable: flag === 1,
    }));
    return { priors, counts: JSON.parse(metadata.counts), file };
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** Writes the cache into the first place that takes it, and says where; null where none does. */
async function writeCache(
  dataset: Dataset,
  settings: PriorSettings,
  { priors, counts }: PriorSet,
  digest: string,
  options: BuildOptions,
): Promise<string | null> {
  const { rows, cols, labels } = settings;
  const n = priors.length;
  const mask = new Uint8Array(n * rows * cols);
  for (const [i, prior] of priors.entries()) mask.set(prior.mask, i * rows * cols);
  const roi = Int32Array.from(priors.flatMap(({ top, bottom }) => [top, bottom]));
  const reliable = Uint8Array.from(priors, (prior) => Number(prior.reliable));
  const tensors: [string, StoredTensor][] = [
    ["mask", { dtype: "U8", shape: [n, rows, cols], data: mask }],
    ["roi", { dtype: "I32", shape: [n, 2], data: roi }],
    ["reliable", { dtype: "U8", shape: [n], data: reliable }],
  ];
  const names = JSON.stringify(dataset.train.map(({ name }) => name));
  const metadata = { kind: "prior-cache", labels, digest, counts: JSON.stringify(counts), names };

  const [inDataset, inCache] = cacheFiles(dataset, settings, options);
  for (const file of [inDataset, inCache]) {
    const folder = parse(file).dir;
    try {
      if (file === inCache) await mkdir(folder, { recursive: true });
      await access(folder, constants.W_OK);
      await writeSafetensors(file, tensors, metadata);
      return file;
    } catch (error) {
      // The priors are made and serve without a cache too, and the next place may take it.
      const ofTheSystem = error instanceof UserError || (error as NodeJS.ErrnoException).code !== undefined;
      if (!ofTheSystem) throw error;
    }
  }
  return null;
}
