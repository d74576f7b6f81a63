/** Finds the parsing and segmentation maps of images where their tools leave them, and makes priors of them. */
import { readdir } from "node:fs/promises";
import { isAbsolute, join, parse, relative, sep } from "node:path";
import { UserError } from "../errors.js";
import type { Sample } from "./dataset.js";
import { type LabelMap, perturbLabels, readLabelMap } from "./label-map.js";
import { LABEL_SETS, type LabelSet } from "./label-sets.js";
import type { DetectorErrors } from "./perturb.js";
import { coarsePrior, type Grid, type MovablePrior, segmentationPrior, wholePrior } from "./prior.js";

/** The maps of one image; null for one that is not there. */
export interface MapPaths {
  readonly parsing: string | null;
  readonly segmentation: string | null;
}

type MapKind = keyof MapPaths;

/** Folders of maps that the user names; each is looked into instead of the usual places. */
export type MapFolders = { readonly [K in MapKind]?: string | null };

/** Ends of the folder's name that stands beside an image's own; `_seg` is that of MGCAM's published masks. */
const BESIDE: Readonly<Record<MapKind, readonly string[]>> = {
  parsing: ["_parsing", "_parse"],
  segmentation: ["_seg", "_segmentation", "_mask"],
};
/** Where torchreid and MGCAM keep the images of CUHK03, beside MGCAM's published masks of it. */
const CUHK03_IMAGES = /^(?:images_)?(detected|labeled)$/;
/** Label that ground truth gives to the pixels between two: they are nobody's. */
const VOID = 255;

/**
 * Finds the maps of images. For `<root>/<split>/<stem>.jpg` these are PNG files called `<stem>` in `<root>/parsing`
 * (`<root>/segmentation`) or in `<split>` below it, and in `<root>/<split>_parsing` (`<root>/<split>_seg`); the first that is
 * there is taken. The same goes for deeper folders. Masks of CUHK03 may also lie in `cuhk03_<detected or labeled>_seg` beside its images.
 *
 * @throws UserError where a folder that was named is missing or holds no map of any image
 */
export async function findMaps(root: string, samples: readonly Sample[], named: MapFolders = {}): Promise<MapPaths[]> {
  const listed = new Map<string, Promise<ReadonlyMap<string, string> | null>>();
  const list = (folder: string) => {
    const listing = listed.get(folder) ?? listMaps(folder);
    listed.set(folder, listing);
    return listing;
  };
  const finder = async (kind: MapKind): Promise<(string | null)[]> => {
    const folder = named[kind];
    if (folder && (await list(folder)) === null)
      throw new UserError(`There is no folder ${folder}: the ${kind} maps were to be found there.`);
    const found = await Promise.all(
      samples.map(async ({ path }) => {
        for (const place of places(root, path, kind, folder)) {
          const maps = await list(place);
          const key = maps && stems(path).find((stem) => maps.has(stem));
          if (key !== null && key !== undefined) return maps!.get(key)!;
        }
        return null;
      }),
    );
    if (folder && samples.length > 0 && found.every((path) => path === null)) {
      const some = [...((await list(folder)) ?? new Map()).values()].slice(0, 3).map((path) => parse(path).base);
      throw new UserError(
        `${folder} holds no ${kind} map of any of the ${samples.length} images: looked for ${stems(samples[0].path)[0]}.png ` +
          `and the like, found ${some.join(", ") || "no PNG files"}.`,
      );
    }
    return found;
  };
  const [parsing, segmentation] = [await finder("parsing"), await finder("segmentation")];
  return samples.map((_, i) => ({ parsing: parsing[i], segmentation: segmentation[i] }));
}

/** Folders in which an image's map may lie, best first. */
function places(root: string, path: string, kind: MapKind, named: string | null | undefined): string[] {
  const { dir } = parse(path);
  const inside = relative(root, dir);
  const parts = inside === "" || inside.startsWith("..") || isAbsolute(inside) ? [] : inside.split(sep);
  const base = named ?? join(root, kind);
  const below = [base, ...parts.map((_, i) => join(base, ...parts.slice(i)))];
  if (named) return below;
  const beside = BESIDE[kind].flatMap((end) =>
    parts.length === 0 ? [dir + end] : parts.map((part, i) => join(root, ...parts.with(i, part + end))),
  );
  const cuhk03 = kind === "segmentation" ? CUHK03_IMAGES.exec(parse(root).base) : null;
  return [...below, ...beside, ...(cuhk03 ? [join(root, "..", `cuhk03_${cuhk03[1]}_seg`)] : [])];
}

/** Says where the maps of an image were looked for. */
export function searchedFor(root: string, { path }: Sample): string {
  const folders = [...places(root, path, "parsing", null), ...places(root, path, "segmentation", null)];
  return `looked for ${stems(path)[0]}.png and the like in ${folders.map((folder) => relative(root, folder)).join(", ")} of ${root}`;
}

/**
 * What the map of an image may be called: as the image, or, as SCHP does it, as the image without its last four
 * characters (`a.` for a.jpeg), or with .png after its whole name. It is the file's name that counts: a sample's may have
 * its person's folder in it.
 */
function stems(path: string): string[] {
  const { name, base } = parse(path);
  return [...new Set([name, base.slice(0, -4), base])];
}

/** Paths of a folder's PNG files by stem; null without the folder. */
async function listMaps(folder: string): Promise<ReadonlyMap<string, string> | null> {
  try {
    const files = (await readdir(folder)).filter((name) => name.toLowerCase().endsWith(".png"));
    return new Map(files.map((name) => [name.slice(0, -4), join(folder, name)]));
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")) return null;
    throw new UserError(`Cannot read the folder of maps ${folder}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The prior of an image: of both maps, of parsing alone, or the extent of the segmentation alone; whole without maps.
 *
 * @param place the image's in its dataset, which decides its detector error
 * @throws UserError naming a map that cannot be read, or holds labels that its set does not have
 */
export async function priorFromMaps(
  place: string,
  { parsing, segmentation }: MapPaths,
  settings: Grid & { labels: LabelSet; perturb?: DetectorErrors },
): Promise<MovablePrior> {
  const { perturb } = settings;
  const seen = (map: LabelMap) => (perturb ? perturbLabels(map, place, perturb) : map);
  const person = segmentation === null ? null : seen(await readLabelMap(segmentation));
  if (parsing !== null) return coarsePrior(seen(await readParsing(parsing, settings.labels)), person, settings);
  return person ? segmentationPrior(person, settings) : wholePrior(settings);
}

async function readParsing(path: string, set: LabelSet): Promise<LabelMap> {
  const map = await readLabelMap(path);
  const { labels } = LABEL_SETS[set];
  const seen = [...new Set(map.data)].filter((label) => label > 0);
  const strange = seen.find((label) => label >= labels && label !== VOID);
  if (strange !== undefined || (seen.length === 1 && seen[0] === VOID)) {
    throw new UserError(
      `The parsing map ${path} holds the label ${strange ?? VOID}; ${set} has 0 to ${labels - 1}. Is it of another set ` +
        `(--labels or --set labels=...: ${Object.keys(LABEL_SETS).join(", ")}), or a segmentation map?`,
    );
  }
  return seen.includes(VOID) ? { ...map, data: map.data.map((label) => (label === VOID ? 0 : label)) } : map;
}
