/** The coarse priors of a training set, made from its maps and kept in one file. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { join, parse, relative } from "node:path";
import { UserError } from "../errors.js";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.js";
import { cacheKey, userCacheFolder } from "./cache-folder.js";
import type { Dataset } from "./dataset.js";
import type { LabelSet } from "./label-sets.js";
import { type DetectorErrors, placeOf } from "./perturb.js";
import { type Grid, type MovablePrior, type Prior, priorOfCoverage, SUB_CELLS } from "./prior.js";
import { findMaps, type MapFolders, type MapPaths, priorFromMaps } from "./prior-maps.js";

export interface PriorSettings extends Grid {
  /** Label set of the parsing maps. */
  labels: LabelSet;
  /** The maps are seen with the detector errors of their pictures. */
  perturb?: DetectorErrors;
}

export interface PriorCounts {
  /** Images with a prior of their own, from a parsing map and perhaps a segmentation map. */
  reliable: number;
  /** Images with a prior from a segmentation map alone. */
  segmentationOnly: number;
  /** Images with maps that give none: head or legs missing, or nobody in sight. They stay whole. */
  unreliable: number;
  /** Images without maps. They stay whole. */
  missing: number;
}

export interface PriorSet {
  /** One for each training image of the dataset, in its order. */
  priors: MovablePrior[];
  counts: PriorCounts;
  /** The file that keeps them; null where there are no maps or no folder could be written. */
  file: string | null;
}

export interface BuildOptions extends MapFolders {
  /** Where the cache goes when the dataset's folder is read-only. */
  cacheFolder?: string;
  onProgress?(done: number, total: number): void;
}

/** Part of the cache's digest: raise it when priors are computed or kept otherwise. */
const VERSION = 3;

/**
 * The priors of the training images: from the cache when it fits settings, names and maps, else made anew and cached.
 *
 * @throws UserError naming a map that cannot be used, or a folder of maps that does not fit the images
 */
export async function loadPriors(
  dataset: Dataset,
  settings: PriorSettings,
  options: BuildOptions = {},
): Promise<PriorSet> {
  const maps = await findMaps(dataset.root, dataset.train, options);
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
 * @throws UserError naming a map that cannot be used, or a folder of maps that does not fit the images
 */
export async function buildPriors(
  dataset: Dataset,
  settings: PriorSettings,
  options: BuildOptions = {},
): Promise<PriorSet> {
  const maps = await findMaps(dataset.root, dataset.train, options);
  return build(dataset, settings, maps, await digestOf(dataset, settings, maps), options);
}

async function build(
  dataset: Dataset,
  settings: PriorSettings,
  maps: readonly MapPaths[],
  digest: string,
  options: BuildOptions,
): Promise<PriorSet> {
  const counts: PriorCounts = { reliable: 0, segmentationOnly: 0, unreliable: 0, missing: 0 };
  const priors: MovablePrior[] = [];
  for (const [i, paths] of maps.entries()) {
    const prior = await priorFromMaps(placeOf(dataset.train[i]), paths, settings);
    counts[kindOf(prior, paths)]++;
    priors.push(prior);
    options.onProgress?.(priors.length, maps.length);
  }
  const set: PriorSet = { priors, counts, file: null };
  if (counts.missing < priors.length) set.file = await writeCache(dataset, settings, set, digest, options);
  return set;
}

function kindOf({ reliable }: Prior, { parsing, segmentation }: MapPaths): keyof PriorCounts {
  if (reliable) return parsing ? "reliable" : "segmentationOnly";
  return parsing || segmentation ? "unreliable" : "missing";
}

/**
 * Changes whenever the priors might: with settings, names of images (and their places, which decide detector errors), and
 * path, size or time of any map.
 */
async function digestOf({ root, train }: Dataset, settings: PriorSettings, maps: readonly MapPaths[]): Promise<string> {
  const { rows, cols, labels, perturb } = settings;
  const describe = async (path: string | null) => {
    if (!path) return null;
    const { size, mtimeMs } = await stat(path).catch((cause) => {
      throw new UserError(`Cannot read the map ${path}: ${cause.message}. Replace or remove the file.`, { cause });
    });
    return [relative(root, path), size, mtimeMs];
  };
  const hash = createHash("sha256").update(
    JSON.stringify([VERSION, rows, cols, labels, ...(perturb ? [perturb.amount, perturb.seed] : [])]),
  );
  for (const [i, { parsing, segmentation }] of maps.entries()) {
    const image = [train[i].name, ...(perturb ? [placeOf(train[i])] : [])];
    hash.update(JSON.stringify([...image, await describe(parsing), await describe(segmentation)]));
  }
  return hash.digest("hex");
}

/** Where the cache may lie, best place first: in the dataset, or in the user's cache folder. */
function cacheFiles({ root, name }: Dataset, settings: PriorSettings, options: BuildOptions): string[] {
  const { rows, cols, labels, perturb } = settings;
  const folder = options.cacheFolder ?? userCacheFolder();
  const errors = perturb ? `-perturbed-${perturb.amount}-${perturb.seed}` : "";
  const file = `prior-${labels}-${rows}x${cols}${errors}.safetensors`;
  return [join(root, file), join(folder, `${name}-${cacheKey(root)}-${file}`)];
}

/** The cached priors; null where there is no such file, or a damaged one, or one made of something else. */
async function readCache(file: string, { rows, cols }: PriorSettings, digest: string): Promise<PriorSet | null> {
  try {
    const { metadata, tensors } = await readSafetensors(file);
    if (metadata.digest !== digest) return null;
    const coverage = tensors.get("coverage")!.data as Uint8Array;
    const each = SUB_CELLS * rows * SUB_CELLS * cols;
    const priors = Array.from({ length: coverage.length / each }, (_, i) =>
      priorOfCoverage(coverage.subarray(i * each, (i + 1) * each), { rows, cols }),
    );
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
  // The rest follows from it, as a prior without coverage is whole. It is 3 kB a picture at 384 x 128: 93 MB for MSMT17.
  const shape = [priors.length, SUB_CELLS * rows, SUB_CELLS * cols];
  const data = new Uint8Array(shape[0] * shape[1] * shape[2]);
  for (const [i, { coverage }] of priors.entries()) if (coverage) data.set(coverage, i * shape[1] * shape[2]);
  const names = JSON.stringify(dataset.train.map(({ name }) => name));
  const metadata = { kind: "prior-cache", labels, digest, counts: JSON.stringify(counts), names };

  const [inDataset, inCache] = cacheFiles(dataset, settings, options);
  for (const file of [inDataset, inCache]) {
    const folder = parse(file).dir;
    try {
      if (file === inCache) await mkdir(folder, { recursive: true });
      await access(folder, constants.W_OK);
      await writeSafetensors(file, [["coverage", { dtype: "U8", shape, data }]], metadata);
      return file;
    } catch (error) {
      // The priors are made and serve without a cache too, and the next place may take it.
      const ofTheSystem = error instanceof UserError || (error as NodeJS.ErrnoException).code !== undefined;
      if (!ofTheSystem) throw error;
    }
  }
  return null;
}
