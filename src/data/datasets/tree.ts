/**
 * A folder for each person: `{train,query,gallery}/<person>/<image>`, or one tree `<person>/<image>`.
 *
 * The "pytorch" tree, into which several re-ID code bases (the published MPN code among them) sort the datasets, is the
 * same under `pytorch/`, with `train_all` = `train` + `val` and `multi-query` beside them; junk lies in a folder `-1`, and
 * `0000` in the gallery alone is Market-1501's distractors.
 *
 * Cameras come from the images' names, where all of them have one.
 */
import { basename, join } from "node:path";
import { UserError } from "../../errors.js";
import { UNKNOWN_CAMERA } from "./cameras.js";
import { isImage, listFolder, listFolders, listSome } from "./files.js";
import { cameraOf, numberPeople } from "./names.js";
import { type Dataset, DISTRACTOR_PID, datasetOf, type ReadRequest, type Sample, SUBSETS } from "./types.js";

const PARTS = ["train", "train_all", "val", "query", "gallery", "multi-query"] as const;
type Part = (typeof PARTS)[number];
const TREE_FOLDER = "pytorch";
const DISTRACTORS = "0000";

interface Image {
  person: string;
  folder: string;
  file: string;
}
type Images = Partial<Record<Part, Image[]>>;

export interface FoundTree {
  home: string;
  layout: "pytorch" | "folders";
  /** Whether people's folders lie in the home itself. */
  single: boolean;
}

/** The tree at a place; null where there is none. One person alone makes no single tree. */
export async function findTree(root: string): Promise<FoundTree | null> {
  for (const home of [join(root, TREE_FOLDER), root]) {
    const folders = await listFolders(home);
    for (const part of PARTS) {
      if (!folders.includes(part) || !(await holdsPeople(join(home, part)))) continue;
      const layout =
        home !== root || basename(home) === TREE_FOLDER || folders.includes("train_all") ? "pytorch" : "folders";
      return { home, layout, single: false };
    }
  }
  // A folder "train" full of images is nobody's name.
  const parts = (await listFolders(root)).some((name) => (PARTS as readonly string[]).includes(name));
  return !parts && (await holdsPeople(root, 2)) ? { home: root, layout: "folders", single: true } : null;
}

/** Whether at least some of the folders in a folder have images in them. */
async function holdsPeople(folder: string, least = 1): Promise<boolean> {
  let people = 0;
  for (const person of await listFolders(folder)) {
    if ((await listFolder(join(folder, person)))?.some(isImage)) people++;
    if (people === least) return true;
  }
  return false;
}

export async function readTree(root: string, request: ReadRequest): Promise<Dataset> {
  const found = await findTree(root);
  if (found === null) {
    throw new UserError(
      `No tree of people's folders at ${root}: looked for ${PARTS.join(", ")} with a folder for each person in them, also ` +
        `under ${TREE_FOLDER}, and for folders of at least two people; found ${listSome((await listFolder(root)) ?? [])}.`,
    );
  }
  const { home, single } = found;
  const name = basename(home) === TREE_FOLDER ? basename(join(home, "..")) : basename(home);
  const dataset = datasetOf({ name, root: home, layout: request.layout });
  const images: Images = {};
  if (single) images.train = await readPeople(home);
  else for (const part of PARTS) images[part] = await readPeople(join(home, part));
  const samplesOf = await sampler(home, images);
  if (request.trainVal && !images.val?.length && !images.train_all?.length) {
    throw new UserError(
      `${home} has no validation images to train on too: looked for val and train_all with a folder for each person. ` +
        "Leave --train-val out.",
    );
  }
  if (single) return allAgainstAll(dataset, samplesOf(images.train!), request);

  const { part, note } = trainingPart(images, request.trainVal === true);
  dataset.train = part.flatMap((name) => samplesOf(images[name]!));
  if (note && dataset.train.length > 0) dataset.notes.push(`train: ${note}`);
  dataset.query = samplesOf(images.query!);
  dataset.gallery = samplesOf(images.gallery!);
  if (request.multiQuery) dataset.multiQuery = samplesOf(images["multi-query"]!);
  for (const subset of SUBSETS) {
    if (request.needed.includes(subset) && dataset[subset].length === 0)
      throw new UserError(`No images in ${join(home, subset)}: one folder for each person is looked for there.`);
  }
  return dataset;
}

/**
 * A list without query and gallery is trained on as it stands; evaluated, every image is a query against all others
 * (leave-one-out).
 */
export function allAgainstAll(dataset: Dataset, samples: Sample[], { needed }: ReadRequest): Dataset {
  dataset.train = samples;
  if (!needed.includes("query") && !needed.includes("gallery")) return dataset;
  dataset.query = dataset.gallery = samples;
  dataset.notes.push("query and gallery: not told apart, so every image is a query against all others");
  return dataset;
}

async function readPeople(folder: string): Promise<Image[]> {
  const images: Image[] = [];
  for (const person of await listFolders(folder)) {
    const files = ((await listFolder(join(folder, person))) ?? []).filter(isImage);
    for (const file of files) images.push({ person, folder, file });
  }
  return images;
}

/** Makes samples of images, numbering people and cameras over all parts, whichever are asked for. */
async function sampler(home: string, images: Images): Promise<(images: readonly Image[]) => Sample[]> {
  const all = Object.values(images).flat();
  const people = (part: Part) => new Set(images[part]?.map(({ person }) => person));
  const distractors =
    people("gallery").has(DISTRACTORS) && PARTS.every((part) => part === "gallery" || !people(part).has(DISTRACTORS));
  const pids = numberPeople(all.map(({ person }) => person).filter((person) => !distractors || person !== DISTRACTORS));
  if (distractors) pids.set(DISTRACTORS, DISTRACTOR_PID);
  const known = all.every(({ file }) => cameraOf(file) !== null);
  return (some) =>
    some.map(({ person, folder, file }) => ({
      path: join(folder, person, file),
      name: folder === home || !known ? `${person}/${file}` : file,
      pid: pids.get(person)!,
      camid: known ? cameraOf(file)! : UNKNOWN_CAMERA,
    }));
}

/** The folders to train on, and how the table tells of the choice. */
function trainingPart(images: Images, trainVal: boolean): { part: Part[]; note?: string } {
  const has = (part: Part) => images[part]!.length > 0;
  if (!has("val") && !has("train_all")) return { part: ["train"] };
  if (!has("train")) return { part: ["train_all"], note: "train_all (there is no train)" };
  if (!trainVal) return { part: ["train"], note: "train alone; --train-val adds val" };
  return has("train_all")
    ? { part: ["train_all"], note: "train_all" }
    : { part: ["train", "val"], note: "train and val" };
}
