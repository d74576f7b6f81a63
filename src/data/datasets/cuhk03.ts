/**
 * CUHK03 under its new protocol (767 people to train on, 700 to test with), boxes detected or labeled by hand, in any of
 * the three forms in which it is found:
 *   - as published: `cuhk03_release/cuhk-03.mat` with `cuhk03_new_protocol_config_{detected,labeled}.mat`; the images are
 *     unpacked once (cuhk03-mat.ts);
 *   - as torchreid leaves it: `images_{detected,labeled}/` with `splits_new_{detected,labeled}.json`, whose absolute paths
 *     are those of another machine, so that only the files' names count;
 *   - re-split into trees like Market-1501's: `{detected,labeled}/bounding_box_train` and so on, also under `cuhk03-np/`.
 */
import { basename, join } from "node:path";
import * as v from "valibot";
import { UserError } from "../../errors.js";
import { type MatValue, readMat5 } from "../../formats/mat5.js";
import { cuhk03Images } from "./cuhk03-mat.js";
import { checkListed, folderWith, listFolder, listSome, readList } from "./files.js";
import { findMarket, readMarket, SUBSET_FOLDERS } from "./market.js";
import { cuhk03Kind, cuhk03Name, type NameFields } from "./names.js";
import { type Dataset, datasetOf, type Layout, type ReadRequest, SUBSETS, type Subset } from "./types.js";

const KINDS = ["detected", "labeled"] as const;
type Kind = (typeof KINDS)[number];

const MAT = "cuhk-03.mat";
const MAT_FOLDERS = [".", "cuhk03_release"];
const TREE_FOLDERS = [".", "cuhk03-np", "CUHK03-NP"];
const configFile = (kind: Kind) => `cuhk03_new_protocol_config_${kind}.mat`;
const splitsFile = (kind: Kind) => `splits_new_${kind}.json`;

/** What there is of one kind at a place; each a path or null. */
interface Parts {
  tree: string | null;
  config: string | null;
  splits: string | null;
  /** `cuhk-03.mat` */
  mat: string | null;
  /** Whether there is a folder of unpacked images. */
  images: boolean;
}

async function partsOf(root: string, kind: Kind): Promise<Parts> {
  const file = async (folders: readonly string[], name: string) => {
    const folder = await folderWith(root, folders, [name]);
    return folder && join(folder, name);
  };
  const trees = TREE_FOLDERS.map((folder) => join(folder, kind));
  return {
    tree: await folderWith(root, trees, [SUBSET_FOLDERS.gallery]),
    config: await file(MAT_FOLDERS, configFile(kind)),
    splits: await file(["."], splitsFile(kind)),
    mat: await file(MAT_FOLDERS, MAT),
    images: (await listFolder(join(root, `images_${kind}`))) !== null,
  };
}

/**
 * The kind of CUHK03 at a place; null where there is none.
 *
 * @throws UserError when there are both kinds
 */
export async function findCuhk03(root: string): Promise<Layout | null> {
  const parts = await Promise.all(KINDS.map((kind) => partsOf(root, kind)));
  const kinds = KINDS.filter((_, i) => parts[i].tree || parts[i].config || parts[i].splits);
  if (kinds.length === 1) return `cuhk03-${kinds[0]}`;
  if (kinds.length === 0 && !parts[0].mat) return null;
  if (kinds.length === 0) throw new UserError(noSplit(root, parts[0].mat!, KINDS));
  throw new UserError(
    `${root} holds CUHK03 with boxes both detected and labeled, which are two datasets. ` +
      `Say which: ${KINDS.map((kind) => `--layout cuhk03-${kind}`).join(" or ")}.`,
  );
}

const noSplit = (root: string, what: string, kinds: readonly Kind[]) =>
  `${what} is there, but nothing that says who is trained on and who is tested with: looked for ` +
  `${kinds.flatMap((kind) => [configFile(kind), splitsFile(kind)]).join(", ")} in ${root} and its cuhk03_release.`;

export async function readCuhk03(root: string, request: ReadRequest): Promise<Dataset> {
  const kind = request.layout === "cuhk03-labeled" ? "labeled" : "detected";
  const { config, splits, mat, images, ...parts } = await partsOf(root, kind);
  const name = `cuhk03-${kind}`;
  const file = config ?? splits;
  // A folder that is named for the other boxes holds no tree of these.
  const isOwn = (cuhk03Kind(basename(root)) ?? kind) === kind;
  const tree = parts.tree ?? (file === null && isOwn ? await findMarket(root, request.layout) : null);
  if (tree) return { ...(await readMarket(tree, request)), name };
  if (file === null) {
    if (mat || images) throw new UserError(noSplit(root, mat ?? join(root, `images_${kind}`), [kind]));
    throw new UserError(
      `No CUHK03 (${kind}) at ${root}: looked for ${MAT} with ${configFile(kind)}, images_${kind} with ${splitsFile(kind)}, ` +
        `and ${kind}/${SUBSET_FOLDERS.train}; found ${listSome((await listFolder(root)) ?? [])}.`,
    );
  }
  const lists = config ? await readConfig(config) : await readSplits(file);
  const folder = await cuhk03Images(root, kind, mat, request);
  const dataset = datasetOf({ name, root: folder, layout: request.layout });
  for (const subset of SUBSETS) {
    dataset[subset] = lists[subset].map(({ name, ...fields }) => ({ path: join(folder, name), name, ...fields }));
  }
  await checkListed(
    SUBSETS.flatMap((subset) => dataset[subset].map(({ path }) => path)),
    file,
  );
  return dataset;
}

type Listed = NameFields & { name: string };

/** @throws UserError on a name that tells no person */
function listedAs(name: string, file: string): Listed {
  const fields = cuhk03Name(name);
  if (fields) return { name, ...fields };
  throw new UserError(`${file}: "${name}" is no name of a CUHK03 image, such as 1_001_1_01.png.`);
}

/**
 * The split file of the protocol's authors: file names, people and cameras, and three lists of places in them, from 1. Its
 * numbers of people, from 1 to 1,467, are in none of the other forms, so that people are taken from the names.
 */
async function readConfig(file: string): Promise<Record<Subset, Listed[]>> {
  const variables = await readMat5(file);
  const numbers = (name: string): Float64Array => {
    const value = variables.get(name);
    if (value?.kind !== "numbers") throw unfit(file, name, value);
    return value.data;
  };
  const files = variables.get("filelist");
  if (files?.kind !== "cells") throw unfit(file, "filelist", files);
  const names = files.cells.map((cell) => {
    if (cell.kind !== "text") throw unfit(file, "filelist", files);
    return cell.text;
  });
  const cameras = numbers("camId");
  const listed = (name: string) =>
    Array.from(numbers(name), (place) => {
      const i = place - 1;
      if (!(i in names && i in cameras))
        throw new UserError(`${file}: ${name} names image ${place}; there are ${names.length}.`);
      return { ...listedAs(names[i], file), camid: cameras[i] };
    });
  return { train: listed("train_idx"), query: listed("query_idx"), gallery: listed("gallery_idx") };
}

const unfit = (file: string, name: string, value: MatValue | undefined) =>
  new UserError(
    `${file} is no split of CUHK03's new protocol: ${name} is ${value ? `of the kind ${value.kind}` : "not in it"}.`,
  );

const splitList = v.array(
  v.strictTuple([v.string(), v.pipe(v.number(), v.integer()), v.pipe(v.number(), v.integer())]),
);
const splitsSchema = v.pipe(
  v.array(v.object({ train: splitList, query: splitList, gallery: splitList })),
  v.minLength(1),
);

/** torchreid numbers the training people anew, from 0 and in no certain order, so that people are taken from the names. */
async function readSplits(file: string): Promise<Record<Subset, Listed[]>> {
  let splits: v.InferOutput<typeof splitsSchema>;
  try {
    splits = v.parse(splitsSchema, JSON.parse((await readList(file))!));
  } catch (cause) {
    throw new UserError(
      `${file} is no split file as torchreid writes it: [{"train": [[path, pid, camera], ...], ...}].`,
      {
        cause,
      },
    );
  }
  const listed = (list: v.InferOutput<typeof splitList>) =>
    list.map(([path]) => listedAs(path.split(/[\\/]/).at(-1)!, file));
  const { train, query, gallery } = splits[0];
  return { train: listed(train), query: listed(query), gallery: listed(gallery) };
}
