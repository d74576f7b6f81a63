/** A miniature of CUHK03 as it is published: `cuhk-03.mat` (HDF5) and the split files (MATLAB 5). */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import hdf5 from "h5wasm/node";
import { writeMat5 } from "./mat5.js";

/** People of each pair of cameras. */
export const PAIRS = [2, 1, 1, 1, 1];
const IMAGES = 10;
/** MATLAB writes half a kilobyte of its own before the HDF5 file. */
const USER_BLOCK = 512;

/** Whether a person's image is there; the others are empty cells. The labeled set lacks nothing that the detected has. */
const isThere = (image: number, kind: string) => image % 5 < 2 || (kind === "labeled" && image === 2);

/** Size and pixels of an image; every one differs. */
export function pictureOf(pair: number, person: number, image: number, kind: string) {
  const [width, height] = [3 + image, 5 + person];
  const pixel = (x: number, y: number) => [pair * 40 + x, person * 50 + y, image * 20 + (kind === "labeled" ? 7 : 0)];
  return { width, height, pixel };
}

/** Writes `cuhk03_release/cuhk-03.mat` and both split files; returns what the lists should hold, by kind. */
export async function putCuhk03(root: string) {
  await mkdir(join(root, "cuhk03_release"), { recursive: true });
  const mat = join(root, "cuhk03_release", "cuhk-03.mat");
  await hdf5.ready;
  const file = new hdf5.File(mat, "w");
  const objects = file.create_group("#refs#");
  let next = 0;
  type Content = Parameters<typeof objects.create_dataset>[0];
  const put = (content: Omit<Content, "name">) => {
    const name = `o${next++}`;
    return objects.create_dataset({ name, ...content }).create_reference();
  };
  for (const kind of ["detected", "labeled"]) {
    const pairs = PAIRS.map((people, pair) => {
      const cells = Array.from({ length: IMAGES * people }, (_, i) => {
        const [image, person] = [Math.floor(i / people), i % people];
        if (!isThere(image, kind)) return put({ data: new BigUint64Array(2), shape: [2] });
        const { width, height, pixel } = pictureOf(pair, person, image, kind);
        const planes = new Uint8Array(3 * width * height);
        for (let c = 0; c < 3; c++)
          for (let x = 0; x < width; x++)
            for (let y = 0; y < height; y++) planes[(c * width + x) * height + y] = pixel(x, y)[c];
        return put({ data: planes, shape: [3, width, height] });
      });
      return put({ data: cells, shape: [IMAGES, people] });
    });
    file.create_dataset({ name: kind, data: pairs, shape: [1, PAIRS.length] });
  }
  file.close();
  await writeFile(mat, Buffer.concat([Buffer.alloc(USER_BLOCK, "MATLAB 7.3 MAT-file "), await readFile(mat)]));
  for (const kind of ["detected", "labeled"]) await putConfig(root, kind);
}

/** The first two people are trained on; of each other one an image by each camera is a query, the rest the gallery. */
export function splitOf(kind: string) {
  const names: string[] = [];
  const labels: number[] = [];
  let label = 0;
  for (const [pair, people] of PAIRS.entries())
    for (let person = 0; person < people; person++) {
      label++;
      for (let image = 0; image < IMAGES; image++) {
        if (!isThere(image, kind)) continue;
        const [number, view] = [String(person + 1).padStart(3, "0"), image < 5 ? 1 : 2];
        names.push(`${pair + 1}_${number}_${view}_${String(image + 1).padStart(2, "0")}.png`);
        labels.push(label);
      }
    }
  const cameras = names.map((name) => Number(name.split("_")[2]));
  const places = names.map((_, i) => i + 1);
  const train = places.filter((place) => labels[place - 1] <= 2);
  const isQuery = (place: number) => /_(01|06)\.png$/.test(names[place - 1]);
  const query = places.filter((place) => labels[place - 1] > 2 && isQuery(place));
  const gallery = places.filter((place) => labels[place - 1] > 2 && !isQuery(place));
  return { names, labels, cameras, train, query, gallery };
}

async function putConfig(root: string, kind: string) {
  const { names, labels, cameras, train, query, gallery } = splitOf(kind);
  const config = writeMat5({
    filelist: names,
    labels: Uint16Array.from(labels),
    camId: Uint8Array.from(cameras),
    train_idx: Float64Array.from(train),
    query_idx: Uint16Array.from(query),
    gallery_idx: Uint16Array.from(gallery),
  });
  await writeFile(join(root, `cuhk03_new_protocol_config_${kind}.mat`), config);
}
