/** What every layout of a dataset is read into. */

/** One image, as its name or list tells it. */
export interface Sample {
  path: string;
  /** What it is called in lists and reports: its file name, such as `0001_c1s1_001051_00.jpg`, or `<person>/<file>`. */
  name: string;
  /** Identity; `JUNK_PID` and `DISTRACTOR_PID` stand for nobody. */
  pid: number;
  /** Camera, as numbered in the name; below zero where it is unknown (see cameras.ts). */
  camid: number;
  /** Path within the dataset, with `/` between folders, the same wherever that lies: what detector errors are drawn by. */
  place?: string;
}

export type Subset = "train" | "query" | "gallery";
export const SUBSETS = ["train", "query", "gallery"] as const satisfies readonly Subset[];

/** pid of badly cut boxes: ignored in evaluation and training. */
export const JUNK_PID = -1;
/** pid of boxes that show nobody of the dataset: wrong answers in evaluation, ignored in training. */
export const DISTRACTOR_PID = 0;
/**
 * pid of a person whom the files of anybody's tree call 0. No name's number is as large, so that it is the same in every
 * list of the tree, and everybody else keeps the number of their files' names.
 */
export const PERSON_ZERO_PID = 2 ** 31 - 1;

/** Whether a pid is somebody's, whom one can be trained on and searched for. */
export const isPerson = (pid: number) => pid !== JUNK_PID && pid !== DISTRACTOR_PID;

/** Layouts by the names that `--layout` takes; `market` is the tree of Market-1501 with anybody's pictures in it. */
export const LAYOUTS = [
  "market",
  "market1501",
  "dukemtmc",
  "cuhk03-detected",
  "cuhk03-labeled",
  "msmt17",
  "pytorch",
  "folders",
  "csv",
] as const;
export type Layout = (typeof LAYOUTS)[number];

/**
 * Lists of images; those of query and gallery stand in the order in which ties of a ranking are broken. Where they are the
 * same array, each image is searched for among all others (leave-one-out).
 */
export interface Dataset extends Record<Subset, Sample[]> {
  name: string;
  /** The folder of the images, where maps and caches that belong to them are looked for. */
  root: string;
  layout: Layout;
  /** More images of the queries' people by the queries' cameras, for multi-query evaluation; empty unless asked for. */
  multiQuery: Sample[];
  /** What the lists hold where that is a choice, such as training with or without the validation images. */
  notes: string[];
  /** What the user should look into, such as counts that differ from the published ones. */
  warnings: string[];
}

export interface LoadOptions {
  /** The layout, where it is not to be told from the files. */
  layout?: Layout;
  /** Train on the validation images too (MSMT17's list_val, a pytorch tree's train_all). */
  trainVal?: boolean;
  /** Read the images for multi-query evaluation (Market-1501's gt_bbox). */
  multiQuery?: boolean;
  /** Folder of further distractors for the gallery, in the dataset's folder or anywhere (Market-1501's 500k). */
  distractors?: string;
  /** Where images go that have to be unpacked first and whose own folder is read-only. */
  cacheFolder?: string;
  /** Told of images being unpacked. */
  onProgress?(done: number, total: number): void;
}

/** What a layout's reader is asked for. */
export interface ReadRequest extends LoadOptions {
  layout: Layout;
  /** Subsets that must be there; another one may be missing and is empty then. */
  needed: readonly Subset[];
}

/** The parts of a dataset that a reader finds; the rest is empty. */
export function datasetOf(found: Pick<Dataset, "name" | "root" | "layout"> & Partial<Dataset>): Dataset {
  return { train: [], query: [], gallery: [], multiQuery: [], notes: [], warnings: [], ...found };
}
