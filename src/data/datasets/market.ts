/**
 * The tree of Market-1501: `bounding_box_train`, `query`, `bounding_box_test`, and `gt_bbox` for multi-query evaluation.
 * DukeMTMC-reID has the same (its owners withdrew it; a copy at hand is read, nothing is fetched), and so has the
 * re-split CUHK03 (`cuhk03-np/{detected,labeled}`).
 */
import { basename, dirname, join } from "node:path";
import { UserError } from "../../errors.js";
import { UNKNOWN_CAMERA } from "./cameras.js";
import { filesBelow, imagesAmong, isImage, listFolder, listSome } from "./files.js";
import { cuhk03Kind, cuhk03Name, marketName } from "./names.js";
import {
  type Dataset,
  DISTRACTOR_PID,
  datasetOf,
  JUNK_PID,
  type Layout,
  PERSON_ZERO_PID,
  type ReadRequest,
  type Sample,
  SUBSETS,
  type Subset,
} from "./types.js";

export const SUBSET_FOLDERS: Readonly<Record<Subset, string>> = {
  train: "bounding_box_train",
  query: "query",
  gallery: "bounding_box_test",
};
const MULTI_QUERY_FOLDER = "gt_bbox";
/** Folders inside the archives in which Market-1501 and DukeMTMC-reID were published, by their layouts. */
const PUBLISHED_FOLDERS: Partial<Record<Layout, string>> = {
  market1501: "Market-1501-v15.09.15",
  dukemtmc: "DukeMTMC-reID",
};
const NAME_HELP =
  "<pid>_c<camera>..., as 0001_c1s1_001051_00.jpg is (pid -1: junk, 0000 in the gallery alone: distractor). Rename or remove them";

/** Layouts whose published folder is looked into: their own, or any where the layout says nothing of that. */
const publishedFor = (layout: Layout = "market"): Layout[] =>
  layout === "market"
    ? (Object.keys(PUBLISHED_FOLDERS) as Layout[])
    : [layout].filter((own) => own in PUBLISHED_FOLDERS);

/** What is looked for, for messages. */
export const marketFolders = (layout?: Layout) =>
  [Object.values(SUBSET_FOLDERS).join(", "), ...publishedFor(layout).map((own) => PUBLISHED_FOLDERS[own])].join(" or ");

/**
 * The folder of the subsets' folders; null where there is none.
 *
 * @param layout by default any with this tree; a published one is not looked for in another one's folder
 * @throws UserError where several published folders fit
 */
export async function findMarket(root: string, layout?: Layout): Promise<string | null> {
  const entries = (await listFolder(root)) ?? [];
  if (entries.includes(SUBSET_FOLDERS.train) || entries.includes(SUBSET_FOLDERS.gallery)) return root;
  const inside = publishedFor(layout).filter((own) => entries.includes(PUBLISHED_FOLDERS[own]!));
  if (inside.length > 1) throw severalDatasets(root, inside);
  if (inside.length === 1) return join(root, PUBLISHED_FOLDERS[inside[0]]!);
  return entries.includes(SUBSET_FOLDERS.query) && (await listFolder(join(root, "query")))?.some(isImage) ? root : null;
}

/** Datasets side by side, of which none may be taken silently. */
export const severalDatasets = (root: string, layouts: readonly Layout[]) =>
  new UserError(
    `${root} holds ${layouts.length} datasets. Say which: ${layouts.map((layout) => `--layout ${layout}`).join(" or ")}, ` +
      "or name its own folder.",
  );

/** Which dataset a tree of this kind claims to be, by the names of its folder and that folder's parent. */
export function marketLayout(home: string): Layout {
  const [name, parent] = [basename(home), basename(dirname(home))];
  const kind = cuhk03Kind(name);
  if (kind && /cuhk-?03/i.test(parent)) return `cuhk03-${kind}`;
  if (/market-?1501/i.test(name)) return "market1501";
  return /duke-?mtmc/i.test(name) ? "dukemtmc" : "market";
}

export async function readMarket(root: string, request: ReadRequest): Promise<Dataset> {
  const home = await findMarket(root, request.layout);
  if (home === null) {
    throw new UserError(
      `No dataset at ${root}: looked for ${marketFolders(request.layout)}, found ${listSome((await listFolder(root)) ?? [])}.`,
    );
  }
  const dataset = datasetOf({ name: basename(home), root: home, layout: request.layout });
  for (const subset of SUBSETS) {
    dataset[subset] = await readImages(home, SUBSET_FOLDERS[subset], subset, request.needed.includes(subset));
  }
  if (request.multiQuery) {
    dataset.multiQuery = await readImages(home, MULTI_QUERY_FOLDER, "multi-query", true);
  }
  settlePersonZero(dataset);
  return dataset;
}

/**
 * The published datasets call those 0000 whom the gallery alone shows. Where somebody is to be trained on or searched for
 * under that number, people are numbered from 0, and it is one of them.
 */
function settlePersonZero(dataset: Dataset): void {
  const isZero = ({ pid }: Sample) => pid === DISTRACTOR_PID;
  const zeros = [...dataset.train, ...dataset.query].filter(isZero).length;
  if (zeros === 0) return;
  if (dataset.layout === "market") {
    for (const subset of [...SUBSETS, "multiQuery"] as const)
      for (const sample of dataset[subset].filter(isZero)) sample.pid = PERSON_ZERO_PID;
  } else {
    dataset.warnings.push(
      `${zeros} training and query images have the pid 0, which stands for nobody in the layout ${dataset.layout}: they are ` +
        "neither trained on nor searched for. --layout market takes 0 for a person where it is not in the gallery alone.",
    );
  }
}

async function readImages(home: string, name: string, what: string, needed: boolean): Promise<Sample[]> {
  const folder = join(home, name);
  const entries = await listFolder(folder);
  if (entries === null) {
    if (!needed) return [];
    throw new UserError(`No folder ${folder}: the ${what} images of ${basename(home)} are looked for there.`);
  }
  const names = needed ? imagesAmong(entries, folder) : entries.filter(isImage);
  const nameless: string[] = [];
  const samples = names.flatMap((name): Sample | [] => {
    const fields = marketName(name) ?? cuhk03Name(name);
    if (fields) return { path: join(folder, name), name, ...fields };
    nameless.push(name);
    return [];
  });
  if (nameless.length === 0) return samples;
  throw new UserError(
    `${folder}: no identity and camera in the names of ${nameless.length} of ${names.length} images: ` +
      `${listSome(nameless)}. Expected ${NAME_HELP}.`,
  );
}

/**
 * Images of nobody for the gallery, such as Market-1501's 500,000 (in `images/` where torchreid put them), from a folder
 * and those in it. Whatever their names say, they are distractors, but for those of pid -1, which are junk.
 *
 * @param folder in the dataset's folder or anywhere
 */
export async function readDistractors(home: string, folder: string): Promise<Sample[]> {
  for (const place of [join(home, folder), folder]) {
    const entries = await filesBelow(place);
    if (entries === null) continue;
    return imagesAmong(entries, place).map((entry) => {
      const name = basename(entry);
      const fields = marketName(name);
      const pid = fields?.pid === JUNK_PID ? JUNK_PID : DISTRACTOR_PID;
      return { path: join(place, entry), name, pid, camid: fields?.camid ?? UNKNOWN_CAMERA, place: entry };
    });
  }
  throw new UserError(`No folder of distractors ${folder}: looked for it in ${home} and as it is.`);
}
