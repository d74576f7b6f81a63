import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadDataset } from "#src/data/dataset.js";
import { DecodePool } from "#src/data/decode-pool.js";
import { decodeImage } from "#src/data/image.js";
import { perturbLabels } from "#src/data/label-map.js";
import { imageBatches } from "#src/data/loader.js";
import { perturbedWindow, seenThrough } from "#src/data/perturb.js";
import { loadPriors, type PriorSettings } from "#src/data/prior-cache.js";
import { greyPng, put, withFolder } from "./helpers.js";

const SIZE = { width: 64, height: 128 };
const NAMES = Array.from({ length: 400 }, (_, i) => `train/${String(i).padStart(4, "0")}_c1s1_000001_00.jpg`);
const windows = (amount: number, seed = 0) => NAMES.map((name) => perturbedWindow(name, { amount, seed }, SIZE));

test("boxes depend on seed and place alone", () => {
  assert.equal(windows(1), windows(1));
  const same = windows(1).filter((w, i) => JSON.stringify(w) === JSON.stringify(windows(1, 1)[i]));
  assert.ok(same.length < 8);
});

test("amount 0 is the picture itself, amount 1 the whole range and no more", () => {
  for (const window of windows(0)) assert.equal(window, { top: 0, left: 0, ...SIZE });
  const heavy = windows(1);
  const range = (values: number[]) => [Math.min(...values), Math.max(...values)];
  const within = (values: number[], low: number, high: number, slack: number) => {
    const [least, most] = range(values);
    assert.ok(least >= low - slack && most <= high + slack, `${least} to ${most}`);
    assert.ok(least < low + 0.1 * (high - low) && most > high - 0.1 * (high - low), `${least} to ${most}`);
  };
  within(
    heavy.map(({ top, height }) => (top + height / 2) / 128 - 0.5),
    -0.2,
    0.2,
    1 / 128,
  ); // rounded to pixels
  within(
    heavy.map(({ left, width }) => (left + width / 2) / 64 - 0.5),
    -0.15,
    0.15,
    1 / 64,
  );
  within(
    heavy.map(({ height }) => Math.log(height / 128)),
    -Math.log(1.3),
    Math.log(1.3),
    2 / 128,
  );
});

test("outside the picture its border is repeated", () => {
  const picture = { width: 2, height: 2, data: Uint8Array.of(1, 2, 3, 4) };
  const seen = seenThrough(picture, { top: -1, left: 1, width: 3, height: 4 }, 1);
  assert.equal([...seen], [2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4]);
  const rgb = { width: 1, height: 2, data: Uint8Array.of(1, 2, 3, 4, 5, 6) };
  assert.equal([...seenThrough(rgb, { top: 1, left: -1, width: 2, height: 1 }, 3)], [4, 5, 6, 4, 5, 6]);
});

/** A picture whose every pixel is its own label. */
async function putScene(path: string): Promise<void> {
  const labels = Array.from({ length: 16 * 8 }, (_, i) => i);
  const rgb = Buffer.from(labels.flatMap((label) => [label, label, label]));
  await put(
    path,
    await sharp(rgb, { raw: { width: 8, height: 16, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

test("picture and map move together, through the workers too", () =>
  withFolder(async (root) => {
    const perturb = { amount: 1, seed: 5 };
    const pool = new DecodePool({ workers: 1, perturb });
    const map = { width: 8, height: 16, data: Uint8Array.from({ length: 128 }, (_, i) => i) };
    let moved = 0;
    for (const name of ["0001_c1_1", "0002_c1_1", "0003_c2_1"]) {
      const place = `bounding_box_train/${name}.jpg`;
      const path = join(root, place);
      await putScene(path);
      const seen = await pool.decode(path, place);
      const labels = perturbLabels(map, place, perturb);
      assert.equal(await decodeImage(path, { perturb, place }), seen);
      assert.equal([seen.width, seen.height], [labels.width, labels.height]);
      assert.equal(
        [...seen.data].filter((_, i) => i % 3 === 0),
        [...labels.data],
      );
      assert.equal(await decodeImage(path, { perturb: { amount: 0, seed: 5 } }), await decodeImage(path));
      moved += Number(labels.data.join() !== map.data.join());
    }
    assert.is(moved, 3);
    await pool.close();
  }));

test("a box larger than the picture keeps to the bound on pixels", () =>
  withFolder(async (root) => {
    const path = join(root, "a.png");
    await put(
      path,
      await sharp({ create: { width: 64, height: 128, channels: 3, background: "red" } })
        .png()
        .toBuffer(),
    );
    for (let seed = 0; seed < 12; seed++) {
      const { width, height } = await decodeImage(path, { maxPixels: 64 * 128, perturb: { amount: 1, seed } });
      assert.ok(width * height <= 64 * 128 && width * height >= (64 * 128) / 8, `${width} x ${height}`);
    }
  }));

test("coarse priors follow, in a cache of their own", () =>
  withFolder(async (root) => {
    // A head above trousers in the middle rows of a map of 32 x 16.
    const rows = (y: number) => (y < 8 || y >= 24 ? 0 : y < 12 ? 13 : 9);
    const map = greyPng(
      16,
      32,
      Array.from({ length: 512 }, (_, i) => rows(i >> 4)),
    );
    const names = Array.from({ length: 6 }, (_, i) => `000${i + 1}_c1_1`);
    for (const name of names) {
      await put(join(root, "bounding_box_train", `${name}.jpg`));
      await put(join(root, "parsing", `${name}.png`), map);
    }
    const dataset = await loadDataset(root, ["train"]);
    const settings: PriorSettings = { rows: 16, cols: 4, labels: "lip" };
    const perturb = { amount: 0.5, seed: 1 };
    const straight = await loadPriors(dataset, settings);
    const seen = await loadPriors(dataset, { ...settings, perturb });
    assert.is.not(seen.file, straight.file);
    assert.equal(await loadPriors(dataset, settings), straight);
    assert.equal(await loadPriors(dataset, { ...settings, perturb }), seen);
    for (const [i, { top, bottom }] of seen.priors.entries()) {
      assert.equal([straight.priors[i].top, straight.priors[i].bottom], [4, 12]);
      const window = perturbedWindow(`bounding_box_train/${names[i]}.jpg`, perturb, { width: 16, height: 32 });
      const cell = (y: number) => (16 * (y - window.top)) / window.height;
      assert.ok(Math.abs(top - Math.max(0, cell(8))) <= 1 && Math.abs(bottom - Math.min(16, cell(24))) <= 1);
    }
    assert.ok(new Set(seen.priors.map(({ top, bottom }) => `${top} ${bottom}`)).size > 1);
  }));

test("pictures of one name in a tree of people's folders have errors of their own, wherever the tree lies", () =>
  withFolder(async (folder) => {
    const roots = ["here", "elsewhere/deeper"].map((place) => join(folder, place));
    const people = ["anna", "ben", "cleo", "dora"];
    const map = greyPng(
      16,
      32,
      Array.from({ length: 512 }, (_, i) => (i < 128 ? 0 : i < 200 ? 13 : 9)),
    );
    for (const root of roots) {
      for (const person of people) {
        await putScene(join(root, "train", person, "one.jpg"));
        await put(join(root, "parsing", "train", person, "one.png"), map);
      }
    }
    const perturb = { amount: 1, seed: 2 };
    const pool = new DecodePool({ workers: 1, perturb });
    const seen = async (root: string) => {
      const dataset = await loadDataset(root, ["train"]);
      const pictures = [];
      for await (const { images } of imageBatches({ samples: dataset.train, pool, batchSize: 3 }))
        pictures.push(...images.map(({ data }) => data.join()));
      const { priors } = await loadPriors(dataset, { rows: 32, cols: 4, labels: "lip", perturb });
      return { pictures, priors: priors.map(({ top, bottom, mask }) => `${top} ${bottom} ${mask}`) };
    };
    const [first, second] = [await seen(roots[0]), await seen(roots[1])];
    await pool.close();
    assert.equal(second, first);
    assert.is(new Set(first.pictures).size, people.length);
    assert.is(new Set(first.priors).size, people.length);
  }));

test("a list's and a distractors' folder elsewhere count by their own paths", () =>
  withFolder(async (folder) => {
    for (const file of ["pictures/anna/1.jpg", "pictures/ben/1.jpg", "lists/cleo/1.jpg"]) await put(join(folder, file));
    const absolute = join(folder, "pictures/ben/1.jpg");
    const list = `path,pid\n../pictures/anna/1.jpg,1\n${absolute},2\n./cleo/1.jpg,3\n`;
    await put(join(folder, "lists", "list.csv"), list);
    const { train } = await loadDataset(join(folder, "lists", "list.csv"), ["train"]);
    assert.equal(
      train.map(({ place }) => place),
      ["../pictures/anna/1.jpg", absolute, "cleo/1.jpg"],
    );
    const market = join(folder, "market");
    for (const file of ["query/0001_c1.jpg", "bounding_box_test/0001_c2.jpg", "images/x/2.jpg"])
      await put(join(market, file));
    await put(join(folder, "more", "x", "2.jpg"));
    const places = async (distractors: string) => {
      const { query, gallery } = await loadDataset(market, ["query", "gallery"], { distractors });
      return [...query, ...gallery].map(({ place }) => place);
    };
    const own = ["query/0001_c1.jpg", "bounding_box_test/0001_c2.jpg"];
    assert.equal(await places("images"), [...own, "images/x/2.jpg"]);
    assert.equal(await places(join(market, "images")), [...own, "images/x/2.jpg"]);
    assert.equal(await places(join(folder, "more")), [...own, "x/2.jpg"]);
  }));

test.run();
