/** Datasets in the layout and with the names of Market-1501. */
import { readdir } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { UserError } from "../errors.js";

/** One image, as its name tells it. */
export interface Sample {
  path: string;
  /** File name, such as `0001_c1s1_001051_00.jpg`. */
  name: string;
  /** Identity; `JUNK_PID` and `DISTRACTOR_PID` stand for nobody. */
  pid: number;
  /** Camera, as numbered in the name. */
  camid: number;
}

export type Subset = "train" | "query" | "gallery";

/** A dataset; each subset is sorted by name. */
export interface Dataset extends Record<Subset, Sample[]> {
  name: string;
  /** The folder that holds the subsets' folders. */
  root: string;
}

/** pid of badly cut boxes: ignored in evaluation and training. */
export const JUNK_PID = -1;
/** pid of boxes that show nobody of the dataset: wrong answers in evaluation, ignored in training. */
export const DISTRACTOR_PID = 0;

export const SUBSET_FOLDERS: Readonly<Record<Subset, string>> = {
  train: "bounding_box_train",
  query: "query",
  gallery: "bounding_box_test",
};
const SUBSETS = Object.keys(SUBSET_FOLDERS) as Subset[];

/** Folder inside the archive in which Market-1501 is published. */
const PUBLISHED_FOLDER = "Market-1501-v15.09.15";
const IMAGE_EXTENSIONS = new Set([".jpg", ".jpeg", ".png", ".webp"]);
const NAME_PATTERN = /^(-?\d+)_c(\d+)/;
const NAME_HELP =
  "<pid>_c<camera>..., as 0001_c1s1_001051_00.jpg is (pid -1: junk, 0000: distractor). Rename or remove them";
const NAMES_LISTED = 5;

/**
 * Reads the lists of a dataset: `bounding_box_train`, `query` and `bounding_box_test` in `root` or in
 * `root/Market-1501-v15.09.15`. No image is opened; files that are no images by their extension are ignored.
 *
 * @param needed the subsets that must be there; another one may be missing and is empty then
 * @throws UserError on a missing or empty folder, and on images whose names hold no identity and camera
 */
export async function loadDataset(root: string, needed: readonly Subset[] = SUBSETS): Promise<Dataset> {
  const home = await findHome(resolve(root));
  const dataset: Dataset = { name: basename(home), root: home, train: [], query: [], gallery: [] };
  for (const subset of SUBSETS) dataset[subset] = await loadSubset(home, subset, needed.includes(subset));
  return dataset;
}

/** Entries of a folder, sorted; null where there is no such folder. */
async function listFolder(path: string): Promise<string[] | null> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new UserError(`Cannot read the folder ${path}: ${message}`, { cause });
  }
}

async function findHome(root: string): Promise<string> {
  const entries = await listFolder(root);
  const folders = Object.values(SUBSET_FOLDERS);
  if (entries === null) {
    throw new UserError(
      `No dataset at ${root}: there is no such folder. Give one that holds ${folders.join(", ")} (Market-1501 layout).`,
    );
  }
  if (folders.some((folder) => entries.includes(folder))) return root;
  if (entries.includes(PUBLISHED_FOLDER)) return join(root, PUBLISHED_FOLDER);
  throw new UserError(
    `No dataset at ${root}: looked for ${folders.join(", ")} or ${PUBLISHED_FOLDER}, found ${listSome(entries)}.`,
  );
}

async function loadSubset(home: string, subset: Subset, needed: boolean): Promise<Sample[]> {
  const folder = join(home, SUBSET_FOLDERS[subset]);
  const entries = await listFolder(folder);
  if (entries === null) {
    if (!needed) return [];
    throw new UserError(`No folder ${folder}: the ${subset} images of ${basename(home)} are looked for there.`);
  }
  const names = entries.filter((name) => !name.startsWith(".") && IMAGE_EXTENSIONS.has(extname(name).toLowerCase()));
  if (names.length === 0 && needed) {
    const looked = [...IMAGE_EXTENSIONS].join(", ");
    throw new UserError(`No images in ${folder}: looked for ${looked}, found ${listSome(entries)}.`);
  }
  const nameless = names.filter((name) => !NAME_PATTERN.test(name));
  if (nameless.length > 0) {
    throw new UserError(
      `${folder}: no identity and camera in the names of ${nameless.length} of ${names.length} images: ` +
        `${listSome(nameless)}. Expected ${NAME_HELP}.`,
    );
  }
  return names.map((name) => ({ path: join(folder, name), name, ...parseName(name) }));
}

function parseName(name: string): { pid: number; camid: number } {
  const [, pid, camid] = NAME_PATTERN.exec(name)!;
  return { pid: Number(pid), camid: Number(camid) };
}

/** The identity that a file name tells; null where it tells none. */
export function personOf(name: string): number | null {
  const match = NAME_PATTERN.exec(name);
  return match && Number(match[1]);
}

function listSome(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  const more = names.length - NAMES_LISTED;
  return names.slice(0, NAMES_LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** The people to train on. */
export interface TrainIdentities {
  /** pid of each label, ascending. */
  pids: number[];
  /** Label of each training image, from 0; -1 where the image shows nobody (junk, distractors). */
  labels: Int32Array;
}

/** Numbers the people of the training set from 0 in the order of their pids. */
export function trainIdentities(train: readonly Sample[]): TrainIdentities {
  const isPerson = (pid: number) => pid !== JUNK_PID && pid !== DISTRACTOR_PID;
  const pids = [...new Set(train.map(({ pid }) => pid).filter(isPerson))].sort((a, b) => a - b);
  const labelOf = new Map(pids.map((pid, label) => [pid, label]));
  return { pids, labels: Int32Array.from(train, ({ pid }) => labelOf.get(pid) ?? -1) };
}

/** One line of the dataset table. Like torchreid's: junk is left out, distractors count as one id. */
export interface DatasetTableRow {
  subset: Subset;
  ids: number;
  images: number;
  cameras: number;
  /** Images with pid -1, not part of `images`. */
  junk: number;
  /** Images with pid 0, part of `images`. */
  distractors: number;
}

export function datasetTable(dataset: Dataset): DatasetTableRow[] {
  return SUBSETS.map((subset) => {
    const kept = dataset[subset].filter(({ pid }) => pid !== JUNK_PID);
    return {
      subset,
      ids: new Set(kept.map(({ pid }) => pid)).size,
      images: kept.length,
      cameras: new Set(kept.map(({ camid }) => camid)).size,
      junk: dataset[subset].length - kept.length,
      distractors: kept.filter(({ pid }) => pid === DISTRACTOR_PID).length,
    };
  });
}

/** The table as text, with a line below for junk and distractors where there are any. */
export function formatDatasetTable(dataset: Dataset): string {
  const rows = datasetTable(dataset);
  const cells = [
    ["subset", "# ids", "# images", "# cameras"],
    ...rows.map(({ subset, ids, images, cameras }) => [subset, String(ids), String(images), String(cameras)]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const lines = cells.map(([first, ...rest]) =>
    [first.padEnd(widths[0]), ...rest.map((cell, i) => cell.padStart(widths[i + 1]))].join(" | "),
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("-+-"));
  for (const { subset, junk, distractors } of rows) {
    if (junk + distractors > 0)
      lines.push(`${subset}: ${distractors} distractors (one id, 0) counted, ${junk} junk images (id -1) left out`);
  }
  return lines.join("\n");
}
