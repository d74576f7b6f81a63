/**
 * The images of CUHK03 out of `cuhk-03.mat`, a MATLAB file of version 7.3, which is HDF5. `detected` and `labeled` are cells
 * of five pairs of cameras; each a cell of people x 10 images, five by the pair's first camera and five by its second, some
 * of them empty; each a cell is a reference. HDF5 keeps MATLAB's arrays transposed: [3, width, height], [10, people].
 *
 * The images are unpacked once, as PNG and under the names that torchreid gives them, so that everything that reads
 * images by their path can: reports, maps, other tools.
 */
import { access, constants, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Dataset as H5Dataset, File as H5File, Reference } from "h5wasm/node";
import sharp from "sharp";
import { UserError } from "../../errors.js";
import { cacheKey, userCacheFolder } from "../cache-folder.js";
import { listFolder } from "./files.js";
import type { LoadOptions } from "./types.js";

const IMAGES_PER_PERSON = 10;
/** Images being compressed while the next ones are read. */
const IN_FLIGHT = 8;

/**
 * The folder of images of a kind: as it is, or unpacked now, beside the .mat file's folder or, where that is read-only,
 * in the cache folder.
 */
export async function cuhk03Images(
  root: string,
  kind: "detected" | "labeled",
  mat: string | null,
  { cacheFolder, onProgress }: LoadOptions,
): Promise<string> {
  const name = `images_${kind}`;
  const cache = cacheFolder ?? userCacheFolder();
  const places = [join(root, name), join(cache, `cuhk03-${cacheKey(root)}`, name)];
  for (const place of places) if (await listFolder(place)) return place;
  if (mat === null) throw new UserError(`Neither a folder ${places[0]} nor a cuhk-03.mat to unpack it from is there.`);
  const writable = await access(root, constants.W_OK).then(
    () => true,
    () => false,
  );
  const target = places[writable ? 0 : 1];
  const partial = `${target}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    await unpack(mat, kind, partial, onProgress);
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw cause;
  }
  return target;
}

async function unpack(mat: string, kind: string, folder: string, onProgress: LoadOptions["onProgress"]): Promise<void> {
  const { default: hdf5 } = await import("h5wasm/node");
  // Else the library prints what is wrong and goes on.
  (await hdf5.ready).activate_throwing_error_handler();
  const damaged = (what: string, cause?: unknown) =>
    new UserError(`${mat} is no intact cuhk-03.mat: ${what}. Was it fetched in full?`, { cause });
  const writing = new Set<Promise<unknown>>();
  let file: H5File | undefined;
  try {
    file = new hdf5.File(mat, "r");
    const find = referenced(file);
    const pairs = cell(file.get(kind)).references.map((reference) => cell(find(reference)));
    const total = pairs.reduce((sum, { references }) => sum + references.length, 0);
    let done = 0;
    for (const [pair, { references, shape }] of pairs.entries()) {
      const [images, people] = shape;
      if (images !== IMAGES_PER_PERSON) throw new Error(`${kind}{${pair + 1}} has the shape ${shape.join(" x ")}`);
      for (let i = 0; i < references.length; i++) {
        const [image, person] = [Math.floor(i / people), i % people];
        const picture = pixels(find(references[i]));
        if (picture) {
          const view = image < IMAGES_PER_PERSON / 2 ? 1 : 2;
          const name = `${pair + 1}_${padded(person + 1, 3)}_${view}_${padded(image + 1, 2)}.png`;
          const { data, ...raw } = picture;
          const path = join(folder, name);
          const written = sharp(data, { raw: { ...raw, channels: 3 } }).toFile(path);
          const settled = written
            .catch((cause) => {
              const reason = cause.message.trim().split("\n").at(-1);
              throw new UserError(`Cannot write ${path}: ${reason}. Is the disk full?`, { cause });
            })
            .finally(() => writing.delete(settled));
          writing.add(settled);
          if (writing.size >= IN_FLIGHT) await Promise.race(writing);
        }
        onProgress?.(++done, total);
      }
    }
    await Promise.all(writing);
  } catch (cause) {
    await Promise.allSettled(writing);
    if (cause instanceof UserError) throw cause;
    // Of a stack of HDF5's messages the last one says why.
    const { message } = cause as Error;
    throw damaged([...message.matchAll(/\(\): (.*)$/gm)].at(-1)?.[1] ?? message, cause);
  } finally {
    file?.close();
  }
}

const padded = (value: number, digits: number) => String(value).padStart(digits, "0");

type Entity = ReturnType<H5File["get"]>;

function isDataset(entity: Entity): entity is H5Dataset {
  return entity !== null && "shape" in entity && "value" in entity;
}

/** A cell array: its references, row by row of the transposed array. */
function cell(entity: Entity): { references: Reference[]; shape: number[] } {
  if (!isDataset(entity) || entity.dtype !== "Reference") throw new Error("no cell array where one is expected");
  return { references: entity.value as Reference[], shape: entity.shape! };
}

/**
 * Looks referenced objects up by their addresses. The library's own look-up searches the whole file for the name of each
 * object, which takes hours for 28,000 of them; going through the names once takes seconds.
 */
function referenced(file: H5File): (reference: Reference) => Entity {
  const key = ({ ref_data }: Reference) => ref_data.join();
  const paths = new Map<string, string>();
  for (const path of file.paths()) {
    const entity = file.get(path);
    if (isDataset(entity)) paths.set(key(entity.create_reference()), path);
  }
  return (reference) => file.get(paths.get(key(reference)) ?? "nowhere");
}

/** A picture row by row from [3, width, height]; null where the cell is empty. */
function pixels(entity: Entity): { width: number; height: number; data: Uint8Array } | null {
  if (!isDataset(entity)) throw new Error("no image where one is expected");
  const { shape } = entity;
  // MATLAB writes an empty array as its two sizes.
  if (shape === null || shape.length < 3) return null;
  const [channels, width, height] = shape;
  const planes = entity.value;
  if (channels !== 3 || !(planes instanceof Uint8Array)) throw new Error(`an image of the shape ${shape.join(" x ")}`);
  const data = new Uint8Array(planes.length);
  for (let c = 0, i = 0; c < 3; c++) {
    for (let x = 0; x < width; x++) for (let y = 0; y < height; y++, i++) data[3 * (y * width + x) + c] = planes[i];
  }
  return { width, height, data };
}
