/** Datasets in the layouts in which they are published, and in plain ones for everybody else's. */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { UserError } from "../errors.js";
import { table } from "../text.js";
import { requireQueryCameras, separateUnknownCameras, unexcluded } from "./datasets/cameras.js";
import { isCsv, readCsv } from "./datasets/csv.js";
import { findCuhk03, readCuhk03 } from "./datasets/cuhk03.js";
import { listFolder, listSome, placeIn } from "./datasets/files.js";
import {
  findMarket,
  marketFolders,
  marketLayout,
  readDistractors,
  readMarket,
  severalDatasets,
} from "./datasets/market.js";
import { findMsmt17, readMsmt17 } from "./datasets/msmt17.js";
import { differences, publishedAs } from "./datasets/published.js";
import { findTree, readTree } from "./datasets/tree.js";
import {
  type Dataset,
  DISTRACTOR_PID,
  isPerson,
  JUNK_PID,
  type Layout,
  type LoadOptions,
  type ReadRequest,
  type Sample,
  SUBSETS,
  type Subset,
} from "./datasets/types.js";

export { requireAnswers } from "./datasets/answers.js";
export { SUBSET_FOLDERS } from "./datasets/market.js";
export {
  type Dataset,
  DISTRACTOR_PID,
  JUNK_PID,
  LAYOUTS,
  type Layout,
  type LoadOptions,
  type Sample,
  type Subset,
} from "./datasets/types.js";

const READERS: Readonly<Record<Layout, (root: string, request: ReadRequest) => Promise<Dataset>>> = {
  market: readMarket,
  market1501: readMarket,
  dukemtmc: readMarket,
  "cuhk03-detected": readCuhk03,
  "cuhk03-labeled": readCuhk03,
  msmt17: readMsmt17,
  pytorch: readTree,
  folders: readTree,
  csv: readCsv,
};
const WITH_DISTRACTORS: readonly Layout[] = ["market", "market1501", "dukemtmc"];
const WITH_VALIDATION: readonly Layout[] = ["msmt17", "pytorch", "folders"];

/**
 * Reads the lists of a dataset in any of the layouts (src/data/datasets). No image is opened, but for CUHK03's .mat file,
 * which is unpacked first; files that are no images by their extension are ignored.
 *
 * @param root the dataset's folder, or a CSV file
 * @param needed the subsets that must be there; another one may be missing and is empty then
 * @throws UserError on a missing or empty folder, on images whose names hold no identity, and where several layouts fit
 */
export async function loadDataset(
  root: string,
  needed: readonly Subset[] = SUBSETS,
  options: LoadOptions = {},
): Promise<Dataset> {
  const place = resolve(root);
  const layout = options.layout ?? (await detectLayout(place));
  if (options.trainVal && !WITH_VALIDATION.includes(layout)) {
    throw new UserError(
      `${place} has no validation images to train on too (layout ${layout}): MSMT17 has them in list_val.txt, a tree of ` +
        "people's folders in val or train_all. Leave --train-val out.",
    );
  }
  const dataset = await READERS[layout](place, { ...options, layout, needed });
  if (options.multiQuery && dataset.multiQuery.length === 0) {
    throw new UserError(
      `${dataset.name} brings no images for multi-query evaluation (layout ${layout}). Market-1501 has them in gt_bbox, a ` +
        "tree of people's folders in multi-query, and a CSV file under the subset multi-query.",
    );
  }
  let distractors: Sample[] = [];
  if (options.distractors !== undefined) {
    if (!WITH_DISTRACTORS.includes(layout)) {
      throw new UserError(
        `Distractors are added to Market-1501's layout alone; ${dataset.name} has the layout ${layout}.`,
      );
    }
    distractors = await readDistractors(dataset.root, options.distractors);
    dataset.gallery = [...dataset.gallery, ...distractors];
    dataset.notes.push(`gallery: with ${distractors.length} images of ${options.distractors}`);
  }
  await separateUnknownCameras(dataset);
  // Told here, before anybody has trained or extracted for it.
  if (options.multiQuery) requireQueryCameras(dataset.name, dataset.query);
  for (const samples of [...SUBSETS.map((subset) => dataset[subset]), dataset.multiQuery]) {
    // Outside the dataset's folder (a list may lead there) it is the path as listed, or that within a distractors' folder.
    for (const sample of samples) sample.place = placeIn(dataset.root, sample.path) ?? sample.place ?? sample.name;
  }
  const { trainVal } = options;
  const counted = { trainVal, distractors: distractors.length };
  if (options.layout === undefined) {
    // A published dataset is one under any name of its folder.
    if (layout === "market") dataset.layout = publishedAs(dataset, distractors.length) ?? layout;
    dataset.notes.push(...toldFromFiles(dataset));
  }
  dataset.warnings.push(...differences(dataset, counted));
  return dataset;
}

/** How a place was read that could have been meant otherwise: nobody said, and no published dataset is like it. */
function toldFromFiles({ layout, root, train, query, gallery }: Dataset): string[] {
  if (layout === "market")
    return [
      "layout: market, anybody's pictures in Market-1501's tree; --layout market1501 or dukemtmc compares the counts with " +
        "those published",
    ];
  if (layout !== "folders") return [];
  const people = new Set([...train, ...query, ...gallery].map(({ pid }) => pid)).size;
  return [`layout: folders, one for each of ${people} people in ${root}; --layout names another one`];
}

/** @throws UserError saying what was looked for where no layout fits */
async function detectLayout(place: string): Promise<Layout> {
  const info = await stat(place).catch(() => null);
  if (info === null) {
    throw new UserError(
      `No dataset at ${place}: there is no such folder. Give one that holds ${marketFolders()}, or of another layout ` +
        "(see --layout), or a CSV file.",
    );
  }
  if (info.isFile()) {
    if (isCsv(place)) return "csv";
    throw new UserError(`${place} is a file; a dataset is a folder or a CSV file of path, pid, camid and subset.`);
  }
  const [cuhk03, market, msmt17] = [await findCuhk03(place), await findMarket(place), await findMsmt17(place)];
  const found = [cuhk03, market === null ? null : marketLayout(market), msmt17 === null ? null : ("msmt17" as const)];
  const layouts = [...new Set(found.filter((layout) => layout !== null))];
  if (layouts.length > 1) throw severalDatasets(place, layouts);
  if (layouts.length === 1) return layouts[0];
  const tree = await findTree(place);
  if (tree) return tree.layout;
  throw new UserError(
    `No dataset at ${place}: looked for ${marketFolders()}, MSMT17's and CUHK03's lists, and folders of people, found ` +
      `${listSome((await listFolder(place)) ?? [])}.`,
  );
}

export { requireQueryCameras, unexcluded };

/** What the reader of an evaluation must know of its data. */
export function remarks(dataset: Dataset): string[] {
  return [...dataset.notes, ...dataset.warnings, unexcluded(dataset) ?? []].flat();
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
  const pids = [...new Set(train.map(({ pid }) => pid).filter(isPerson))].sort((a, b) => a - b);
  const labelOf = new Map(pids.map((pid, label) => [pid, label]));
  return { pids, labels: Int32Array.from(train, ({ pid }) => labelOf.get(pid) ?? -1) };
}

/** One line of the dataset table. Like torchreid's: junk is left out, distractors count as one id. */
export interface DatasetTableRow {
  subset: Subset | "multi-query";
  ids: number;
  images: number;
  /** 0 where no camera is known. */
  cameras: number;
  /** Images with pid -1, not part of `images`. */
  junk: number;
  /** Images with pid 0, part of `images`. */
  distractors: number;
}

export function datasetTable(dataset: Dataset): DatasetTableRow[] {
  const lists: [DatasetTableRow["subset"], Sample[]][] = SUBSETS.map((subset) => [subset, dataset[subset]]);
  if (dataset.multiQuery.length > 0) lists.push(["multi-query", dataset.multiQuery]);
  return lists.map(([subset, samples]) => {
    const kept = samples.filter(({ pid }) => pid !== JUNK_PID);
    return {
      subset,
      ids: new Set(kept.map(({ pid }) => pid)).size,
      images: kept.length,
      cameras: new Set(kept.map(({ camid }) => camid).filter((camid) => camid >= 0)).size,
      junk: samples.length - kept.length,
      distractors: kept.filter(({ pid }) => pid === DISTRACTOR_PID).length,
    };
  });
}

/** The table as text, with lines below for junk, distractors and choices where there are any. */
export function formatDatasetTable(dataset: Dataset): string {
  const rows = datasetTable(dataset);
  const cells = [
    ["subset", "# ids", "# images", "# cameras"],
    ...rows.map(({ subset, ids, images, cameras }) => [
      subset,
      String(ids),
      String(images),
      cameras === 0 && images > 0 ? "unknown" : String(cameras),
    ]),
  ];
  const lines = table(cells, 1, " | ");
  lines.splice(1, 0, lines[0].replace(/[^|]/g, "-").replaceAll("|", "+"));
  for (const { subset, junk, distractors } of rows) {
    if (junk + distractors > 0)
      lines.push(`${subset}: ${distractors} distractors (one id, 0) counted, ${junk} junk images (id -1) left out`);
  }
  lines.push(...dataset.notes);
  return lines.join("\n");
}
