/**
 * MSMT17: `MSMT17_V1/{train,test}` or `MSMT17_V2/{mask_train_v2,mask_test_v2}` (faces masked) with list files, a line of
 * which is `0000/0000_000_01_0303morning_0015_0.jpg 0`: path, identity from 0; the camera is the name's third field.
 */
import { basename, join, relative } from "node:path";
import { UserError } from "../../errors.js";
import { checkListed, folderWith, listFolder, listSome, readList } from "./files.js";
import { msmt17Camera } from "./names.js";
import { type Dataset, datasetOf, type ReadRequest, type Sample, SUBSETS } from "./types.js";

const HOMES = [".", "MSMT17_V1", "MSMT17_V2"];
const LISTS = { train: "list_train.txt", val: "list_val.txt", query: "list_query.txt", gallery: "list_gallery.txt" };
const IMAGE_FOLDERS = { train: ["mask_train_v2", "train"], test: ["mask_test_v2", "test"] };
/**
 * The identities of training and test both start at 0, which elsewhere stands for nobody. Here those of training
 * become 1 to 1,041, and those of test go on from there.
 */
const FIRST_PID = { train: 1, test: 1_042 };

/** The folder of the lists; null where there is none. */
export async function findMsmt17(root: string): Promise<string | null> {
  const homes = (
    await Promise.all(
      HOMES.map(
        async (home) => (await folderWith(root, [home], [LISTS.train])) ?? folderWith(root, [home], [LISTS.query]),
      ),
    )
  ).filter((home) => home !== null);
  if (homes.length < 2) return homes[0] ?? null;
  throw new UserError(
    `${root} holds MSMT17 more than once: ${homes.map((home) => basename(home)).join(", ")}. Name one.`,
  );
}

export async function readMsmt17(root: string, request: ReadRequest): Promise<Dataset> {
  const home = await findMsmt17(root);
  if (home === null) {
    throw new UserError(
      `No MSMT17 at ${root}: looked for ${Object.values(LISTS).join(", ")} in it, MSMT17_V1 and MSMT17_V2, ` +
        `found ${listSome((await listFolder(root)) ?? [])}.`,
    );
  }
  const dataset = datasetOf({ name: basename(home), root: home, layout: "msmt17" });
  for (const subset of SUBSETS) {
    dataset[subset] = await readListed(
      home,
      LISTS[subset],
      subset === "train" ? "train" : "test",
      request.needed.includes(subset),
    );
  }
  const val = await readListed(home, LISTS.val, "train", request.needed.includes("train") && request.trainVal === true);
  if (request.trainVal) {
    dataset.train.push(...val);
    dataset.notes.push(`train: ${LISTS.train} and ${LISTS.val} (${val.length} images)`);
  } else if (dataset.train.length > 0) {
    dataset.notes.push(`train: ${LISTS.train} alone; --train-val adds ${LISTS.val} (${val.length} images)`);
  }
  return dataset;
}

async function readListed(home: string, list: string, part: "train" | "test", needed: boolean): Promise<Sample[]> {
  const file = join(home, list);
  const text = await readList(file);
  if (text === null) {
    if (!needed) return [];
    throw new UserError(`No list ${file}: the images of ${basename(home)} are named there.`);
  }
  const folder = await folderWith(home, IMAGE_FOLDERS[part], []);
  if (folder === null) {
    if (!needed) return [];
    throw new UserError(`${home} has ${list}, but no folder ${IMAGE_FOLDERS[part].join(" or ")} with its images.`);
  }
  const samples = text.split(/\r?\n/).flatMap((line, i): Sample | [] => {
    if (line.trim() === "") return [];
    const [, path, id] = /^(\S.*?)\s+(\d+)\s*$/.exec(line) ?? [];
    const camid = path === undefined ? null : msmt17Camera(basename(path));
    if (camid !== null) {
      return { path: join(folder, path), name: basename(path), pid: FIRST_PID[part] + Number(id), camid };
    }
    throw new UserError(
      `${file}, line ${i + 1}: "${line}" is not <path> <identity>, as in "0000/0000_000_01_0303morning_0015_0.jpg 0".`,
    );
  });
  await checkListed(
    samples.map(({ path }) => path),
    `${relative(home, file)} of ${home}`,
  );
  return samples;
}
