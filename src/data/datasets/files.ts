/** Folders and lists of images as readers of layouts look at them. No image is opened. */
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, extname, isAbsolute, join, relative, sep } from "node:path";
import { UserError } from "../../errors.js";

export const IMAGE_EXTENSIONS = [".jpg", ".jpeg", ".png", ".webp"];
const NAMES_LISTED = 5;

/** Entries of a folder, sorted; null where there is no such folder. */
export async function listFolder(path: string): Promise<string[] | null> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new UserError(`Cannot read the folder ${path}: ${message}`, { cause });
  }
}

/** Names of the folders in a folder, sorted; hidden ones are left out. */
export async function listFolders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  const folders = entries.filter(
    (entry) => !entry.name.startsWith(".") && (entry.isDirectory() || entry.isSymbolicLink()),
  );
  return folders.map(({ name }) => name).sort();
}

/**
 * Paths of the files in a folder and those below it, from that folder, sorted; null where there is no such folder. Links
 * to folders are followed, but each folder is walked once, by its own path where it has one: one that holds a link back
 * to itself or to another one's place has no end, and its pictures would count many times.
 */
export async function filesBelow(root: string): Promise<string[] | null> {
  if (!(await stat(root).catch(() => null))?.isDirectory()) return null;
  const walked = new Set<string>();
  const files: string[] = [];
  const [folders, links] = [[""], [] as string[]];
  for (let folder: string | undefined; (folder = folders.pop() ?? links.shift()) !== undefined; ) {
    const place = await realpath(join(root, folder));
    if (walked.has(place)) continue;
    walked.add(place);
    for (const entry of await readdir(place, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isSymbolicLink() && (await stat(join(root, path)).catch(() => null))?.isDirectory())
        links.push(path);
      else files.push(path);
    }
  }
  return files.sort();
}

/** Path from a folder, with `/` between folders; null where it leads out of the folder. */
export function placeIn(folder: string, path: string): string | null {
  const way = relative(folder, path);
  return way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way) ? null : way.replaceAll(sep, "/");
}

/** Images by their extension; `Thumbs.db`, hidden files and the like are none. */
export const isImage = (name: string) =>
  !basename(name).startsWith(".") && IMAGE_EXTENSIONS.includes(extname(name).toLowerCase());

/** @throws UserError when there is no image */
export function imagesAmong(entries: readonly string[], folder: string): string[] {
  const names = entries.filter(isImage);
  if (names.length > 0) return names;
  throw new UserError(`No images in ${folder}: looked for ${IMAGE_EXTENSIONS.join(", ")}, found ${listSome(entries)}.`);
}

/** The first few names and how many more there are. */
export function listSome(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  const more = names.length - NAMES_LISTED;
  return names.slice(0, NAMES_LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Text of a list file; null where there is none. */
export async function readList(path: string): Promise<string | null> {
  try {
    return (await readFile(path, "utf8")).replace(/^\uFEFF/, "");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return null;
    throw new UserError(`Cannot read the list ${path}: ${message}`, { cause });
  }
}

/** @throws UserError when files that a list names are not there */
export async function checkListed(paths: readonly string[], list: string): Promise<void> {
  const folders = new Map<string, Set<string>>();
  for (const folder of new Set(paths.map(dirname))) folders.set(folder, new Set(await listFolder(folder)));
  const missing = paths.filter((path) => !folders.get(dirname(path))!.has(basename(path)));
  if (missing.length === 0) return;
  throw new UserError(
    `${list} names ${paths.length} images, ${missing.length} of which are not there: ${listSome(missing)}. ` +
      "Is the archive unpacked in full?",
  );
}

/** The first of some folders of `root`, or `root` itself as `"."`, that holds all of some files; null where none does. */
export async function folderWith(
  root: string,
  folders: readonly string[],
  files: readonly string[],
): Promise<string | null> {
  for (const folder of folders) {
    const entries = await listFolder(join(root, folder));
    if (entries && files.every((file) => entries.includes(file))) return join(root, folder);
  }
  return null;
}
