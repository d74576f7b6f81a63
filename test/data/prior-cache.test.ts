import { chmod, readFile, rm, stat, symlink, truncate, utimes } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadDataset } from "#src/data/dataset.js";
import { movePrior, wholePrior } from "#src/data/prior.js";
import { buildPriors, loadPriors, type PriorSettings } from "#src/data/prior-cache.js";
import { readSafetensors } from "#src/formats/safetensors.js";
import { greyPng, put, userError, withFolder } from "./helpers.js";

const SETTINGS: PriorSettings = { rows: 4, cols: 2, labels: "lip" };
const NAMES = ["0001_c1_1", "0001_c2_1", "0002_c1_1", "0002_c2_1", "0003_c1_1"];

/** A person of head (13) and trousers (9) from row `top` to `bottom` of eight, in both columns. */
const person = (top: number, bottom: number) =>
  greyPng(
    2,
    8,
    Array.from({ length: 16 }, (_, i) => (i >> 1 < top || i >> 1 >= bottom ? 0 : i >> 1 === top ? 13 : 9)),
  );
const EMPTY = greyPng(2, 8, new Array(16).fill(0));
const FULL = greyPng(2, 8, new Array(16).fill(255));

/** Image 0: parsing; 1: both maps, MGCAM's naming; 2: parsing without head and legs; 3: segmentation alone; 4: no map. */
async function putDataset(root: string) {
  for (const name of NAMES) await put(join(root, "bounding_box_train", `${name}.jpg`));
  await put(join(root, "parsing", `${NAMES[0]}.png`), person(2, 6));
  await put(join(root, "parsing", `${NAMES[1]}.png`), person(4, 6));
  await put(join(root, "bounding_box_train_seg", `${NAMES[1]}.png`), FULL);
  await put(join(root, "parsing", `${NAMES[2]}.png`), EMPTY);
  await put(join(root, "segmentation", `${NAMES[3]}.png`), FULL);
  return loadDataset(root, ["train"]);
}

test("builds, caches in the dataset's folder, and reads the same back", () =>
  withFolder(async (root) => {
    const dataset = await putDataset(root);
    const progress: number[][] = [];
    const onProgress = (...step: number[]) => progress.push(step);
    const built = await loadPriors(dataset, SETTINGS, { onProgress });
    assert.equal(progress, [
      [1, 5],
      [2, 5],
      [3, 5],
      [4, 5],
      [5, 5],
    ]);
    assert.equal(built.counts, { reliable: 2, segmentationOnly: 1, unreliable: 1, missing: 1 });
    const [first, second, ...others] = built.priors;
    assert.equal([[...first.mask], first.top, first.bottom, first.reliable], [[0, 0, 1, 1, 1, 1, 0, 0], 1, 3, true]);
    assert.equal([second.top, second.bottom, second.reliable], [0, 4, true]);
    const [third, alone, none] = others;
    assert.equal(alone, { ...wholePrior(SETTINGS), reliable: true, coverage: new Uint8Array(16 * 8).fill(240) });
    for (const prior of [third, none]) assert.equal(prior, wholePrior(SETTINGS));

    assert.is(built.file, join(root, "prior-lip-4x2.safetensors"));
    const { tensors } = await readSafetensors(built.file!);
    assert.equal([...tensors.keys()], ["coverage"]);
    assert.equal(tensors.get("coverage")!.shape, [5, 16, 8]);
    const again = await loadPriors(dataset, SETTINGS, { onProgress: () => assert.unreachable("not from the cache") });
    assert.equal(again, built);
    for (const [shiftX, shiftY, flip] of [
      [3, -7, true],
      [-9, 20, false],
    ] as const) {
      const move = (prior: (typeof built.priors)[number]) =>
        movePrior(prior, { flip, shiftX, shiftY, erase: null }, { height: 64, width: 32 });
      assert.not.equal(move(first).mask, first.mask);
      assert.equal(again.priors.map(move), built.priors.map(move));
    }
  }));

test("a stale or damaged cache is made anew", () =>
  withFolder(async (root) => {
    const dataset = await putDataset(root);
    const rebuilds = async (settings = SETTINGS, data = dataset) => {
      let steps = 0;
      const { priors } = await loadPriors(data, settings, { onProgress: () => steps++ });
      assert.is(priors.length, data.train.length);
      return steps > 0;
    };
    const map = join(root, "parsing", `${NAMES[0]}.png`);
    assert.is(await rebuilds(), true);
    assert.is(await rebuilds(), false);
    await utimes(map, new Date(2001, 1), new Date(2001, 1));
    assert.is(await rebuilds(), true);
    await put(join(root, "parsing", `${NAMES[4]}.png`), person(0, 8));
    assert.is(await rebuilds(), true);
    await put(join(root, "bounding_box_train", "0004_c1_1.jpg"));
    assert.is(await rebuilds(SETTINGS, await loadDataset(root, ["train"])), true);
    assert.is(await rebuilds({ ...SETTINGS, labels: "atr" }), true);
    assert.is(await rebuilds({ ...SETTINGS, rows: 8 }), true);
    assert.is(await rebuilds({ ...SETTINGS, rows: 8 }), false);
    const file = join(root, "prior-lip-8x2.safetensors");
    await truncate(file, (await stat(file)).size - 3);
    assert.is(await rebuilds({ ...SETTINGS, rows: 8 }), true);
  }));

test("buildPriors makes them anew even with a cache, to the same bytes", () =>
  withFolder(async (root) => {
    const dataset = await putDataset(root);
    const { file } = await buildPriors(dataset, SETTINGS);
    const before = await readFile(file!);
    let steps = 0;
    await buildPriors(dataset, SETTINGS, { onProgress: () => steps++ });
    assert.is(steps, 5);
    assert.equal(await readFile(file!), before);
  }));

test("without maps all is uniform and nothing is written", () =>
  withFolder(async (root) => {
    await put(join(root, "bounding_box_train", "0001_c1_1.jpg"));
    const dataset = await loadDataset(root, ["train"]);
    const set = await loadPriors(dataset, SETTINGS);
    assert.equal(set, {
      priors: [wholePrior(SETTINGS)],
      counts: { reliable: 0, segmentationOnly: 0, unreliable: 0, missing: 1 },
      file: null,
    });
  }));

test("where the dataset cannot take the cache, the cache folder does", () =>
  withFolder(async (root) => {
    const dataset = await putDataset(join(root, "data"));
    // A folder in the file's place keeps even root from writing it.
    await put(join(root, "data", "prior-lip-4x2.safetensors", "in-the-way"));
    await chmod(join(root, "data"), 0o555);
    const cacheFolder = join(root, "cache", "deep");
    const built = await loadPriors(dataset, SETTINGS, { cacheFolder });
    assert.ok(built.file!.startsWith(cacheFolder));
    const again = await loadPriors(dataset, SETTINGS, { cacheFolder, onProgress: () => assert.unreachable() });
    assert.equal(again, built);
    await put(join(root, "file"), "no folder");
    const nowhere = await buildPriors(dataset, SETTINGS, { cacheFolder: join(root, "file", "below") });
    assert.equal([nowhere.file, nowhere.priors], [null, built.priors]);
    await chmod(join(root, "data"), 0o755);
  }));

test("a damaged map is named", () =>
  withFolder(async (root) => {
    const dataset = await putDataset(root);
    const path = join(root, "parsing", `${NAMES[2]}.png`);
    await put(path, "no png");
    assert.match((await userError(() => loadPriors(dataset, SETTINGS))).message, path);
    await rm(path);
    await symlink("nowhere.png", path);
    assert.match((await userError(() => loadPriors(dataset, SETTINGS))).message, `Cannot read the map ${path}: ENOENT`);
  }));

test.run();
