/** CUHK03's new protocol, in the three forms in which it is found. */
import { execFileSync } from "node:child_process";
import { chmod, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadDataset, type Sample } from "#src/data/dataset.js";
import { decodeImage } from "#src/data/image.js";
import { pictureOf, putCuhk03, splitOf } from "../../support/cuhk03.js";
import { oddFiles, put, userError, withFolder } from "../helpers.js";

/** What a list of places in the split should become: people by their names, whatever the split's own numbers are. */
function expected(kind: string, list: "train" | "query" | "gallery") {
  const { names, cameras, ...lists } = splitOf(kind);
  return lists[list].map((place) => {
    const name = names[place - 1];
    const [pair, person] = name.split("_").map(Number);
    return [name, 1000 * pair + person, cameras[place - 1]];
  });
}

for (const kind of ["detected", "labeled"] as const)
  test(`cuhk-03.mat, ${kind}: lists of the split file, images unpacked once and upright`, () =>
    withFolder(async (root) => {
      await putCuhk03(root);
      const progress: number[][] = [];
      const layout = `cuhk03-${kind}` as const;
      const onProgress = (...step: number[]) => progress.push(step);
      const dataset = await loadDataset(root, undefined, { layout, onProgress });
      assert.is(dataset.root, join(root, `images_${kind}`));
      for (const list of ["train", "query", "gallery"] as const) {
        assert.equal(
          dataset[list].map(({ name, pid, camid }) => [name, pid, camid]),
          expected(kind, list),
        );
      }
      assert.equal(progress.at(-1), [60, 60]);
      assert.match(
        dataset.warnings[0],
        `(new protocol, ${kind}) has ${kind === "detected" ? "7,365" : "7,368"} training`,
      );
      // Of another pair, person and image than the first, so that none of the three can be mixed up.
      for (const [name, pair, person, image] of [
        ["1_002_2_07.png", 0, 1, 6],
        ["4_001_1_02.png", 3, 0, 1],
      ] as const) {
        const { width, height, data } = await decodeImage(join(dataset.root, name));
        const { pixel, ...size } = pictureOf(pair, person, image, kind);
        assert.equal({ width, height }, size);
        for (const [x, y] of [
          [0, 0],
          [width - 1, 0],
          [1, height - 1],
        ]) {
          const at = 3 * (y * width + x);
          assert.equal([...data.subarray(at, at + 3)], pixel(x, y));
        }
      }
      assert.equal((await readdir(dataset.root)).sort(), splitOf(kind).names.sort());
      for (const file of oddFiles(dataset.root)) await put(file);
      const again = await loadDataset(root, undefined, {
        layout,
        onProgress: () => assert.unreachable("not unpacked"),
      });
      assert.equal(again, dataset);
    }));

test("both kinds are there: which one must be said", () =>
  withFolder(async (root) => {
    await putCuhk03(root);
    const { message } = await userError(() => loadDataset(root));
    assert.match(message, /both detected and labeled.*--layout cuhk03-detected or --layout cuhk03-labeled/);
    await rm(join(root, "cuhk03_new_protocol_config_detected.mat"));
    assert.is((await loadDataset(root)).layout, "cuhk03-labeled");
    await rm(join(root, "cuhk03_new_protocol_config_labeled.mat"));
    assert.match(
      (await userError(() => loadDataset(root))).message,
      /cuhk-03\.mat is there, but.*config_labeled\.mat/s,
    );
  }));

test("a read-only folder: the images go to the cache", () =>
  withFolder(async (root) => {
    await putCuhk03(join(root, "data"));
    const cacheFolder = join(root, "cache");
    const load = () => loadDataset(join(root, "data"), undefined, { layout: "cuhk03-detected", cacheFolder });
    if (process.getuid?.() === 0) {
      // Nothing is read-only to root but a file system that is.
      try {
        execFileSync("mount", ["--bind", join(root, "data"), join(root, "data")], { stdio: "ignore" });
        execFileSync("mount", ["-o", "remount,ro,bind", join(root, "data")], { stdio: "ignore" });
      } catch {
        return;
      }
    } else await chmod(join(root, "data"), 0o555);
    try {
      const dataset = await load();
      assert.ok(dataset.root.startsWith(cacheFolder), dataset.root);
      assert.equal(await load(), dataset);
    } finally {
      if (process.getuid?.() === 0) execFileSync("umount", [join(root, "data")]);
      else await chmod(join(root, "data"), 0o755);
    }
  }));

test("a damaged .mat file is named and leaves nothing behind", () =>
  withFolder(async (root) => {
    await putCuhk03(root);
    const mat = join(root, "cuhk03_release", "cuhk-03.mat");
    const whole = await readFile(mat);
    await writeFile(mat, whole.subarray(0, whole.length / 2));
    const { message } = await userError(() => loadDataset(root, ["train"], { layout: "cuhk03-detected" }));
    assert.match(message, /cuhk-03\.mat is no intact cuhk-03\.mat: truncated file.*fetched in full\?$/);
    assert.not.ok((await readdir(root)).some((name) => name.startsWith("images_")));
  }));

test("images unpacked by torchreid, moved since: its lists count by the files' names", () =>
  withFolder(async (root) => {
    await putCuhk03(join(root, "raw"));
    const raw = await loadDataset(join(root, "raw"), undefined, { layout: "cuhk03-detected" });
    const home = join(root, "cuhk03");
    const rows = (samples: readonly Sample[], first: number) =>
      samples.map(({ name, camid }, i) => [`/home/somebody/data/cuhk03/images_detected/${name}`, first + i, camid - 1]);
    const split = {
      train: rows(raw.train, 0),
      query: rows(raw.query, 3),
      gallery: rows(raw.gallery, 3),
      num_train_pids: 2,
    };
    await put(join(home, "splits_new_detected.json"), JSON.stringify([split]));
    await put(join(home, "splits_classic_detected.json"), "[]");
    await rename(raw.root, join(home, "images_detected"));
    for (const file of ["", "images_detected"].flatMap(oddFiles)) await put(join(home, file));
    const dataset = await loadDataset(home);
    assert.is(dataset.layout, "cuhk03-detected");
    // A run can go on from one form with the other: people have the same numbers.
    const fields = ({ name, pid, camid }: Sample) => [name, pid, camid];
    for (const list of ["train", "query", "gallery"] as const)
      assert.equal(dataset[list].map(fields), raw[list].map(fields));
    // Numbers of people differ from those of the split file; who is who does not.
    assert.equal(
      dataset.train.map(({ pid }) => pid),
      [1001, 1001, 1001, 1001, 1002, 1002, 1002, 1002],
    );
    await rm(dataset.train[0].path);
    assert.match(
      (await userError(() => loadDataset(home))).message,
      new RegExp(`splits_new_detected\\.json names .*${basename(dataset.train[0].path)}`),
    );
    await put(join(home, "splits_new_detected.json"), "[]");
    assert.match((await userError(() => loadDataset(home))).message, /no split file as torchreid writes it/);
  }));

test("trees like Market-1501's", () =>
  withFolder(async (root) => {
    for (const kind of ["detected", "labeled"])
      for (const file of [
        "bounding_box_train/0001_c1_1.png",
        "query/0768_c1_1.png",
        "bounding_box_test/1_800_2_06.png",
        ...["", "bounding_box_train", "query", "bounding_box_test"].flatMap(oddFiles),
      ])
        await put(join(root, "cuhk03-np", kind, file));
    for (const place of [root, join(root, "cuhk03-np")]) {
      assert.match((await userError(() => loadDataset(place))).message, "both detected and labeled");
      const dataset = await loadDataset(place, undefined, { layout: "cuhk03-labeled" });
      assert.equal([dataset.name, dataset.root], ["cuhk03-labeled", join(root, "cuhk03-np", "labeled")]);
      assert.equal(
        [...dataset.query, ...dataset.gallery].map(({ pid, camid }) => [pid, camid]),
        [
          [768, 1],
          [1800, 2],
        ],
      );
      assert.match(dataset.warnings[2], "has 5,328 gallery images of 700 people; found 1 of 1 people");
    }
    const detected = join(root, "cuhk03-np", "detected");
    const direct = await loadDataset(detected);
    assert.equal([direct.layout, direct.warnings.length], ["cuhk03-detected", 3]);
    // The other boxes are another dataset.
    const { message } = await userError(() => loadDataset(detected, undefined, { layout: "cuhk03-labeled" }));
    assert.match(message, `No CUHK03 (labeled) at ${detected}`);
  }));

test("a Market-1501 beside CUHK03 is not read as it", () =>
  withFolder(async (root) => {
    const market = join(root, "Market-1501-v15.09.15");
    for (const file of ["bounding_box_train/0002_c1s1_1.jpg", "query/0001_c1s1_1.jpg"]) await put(join(market, file));
    const layout = "cuhk03-detected";
    assert.match((await userError(() => loadDataset(root, ["query"], { layout }))).message, "No CUHK03 (detected)");
    const row = (name: string) => [`/home/somebody/${name}`, 0, 0];
    const [train, query, gallery] = ["1_001_1_01.png", "1_002_1_01.png", "1_002_2_06.png"];
    for (const name of [train, query, gallery]) await put(join(root, "images_detected", name));
    const split = { train: [row(train)], query: [row(query)], gallery: [row(gallery)] };
    await put(join(root, "splits_new_detected.json"), JSON.stringify([split]));
    assert.match(
      (await userError(() => loadDataset(root))).message,
      `${root} holds 2 datasets. Say which: --layout cuhk03-detected or --layout market1501`,
    );
    const named = await loadDataset(root, undefined, { layout });
    assert.equal([named.root, named.query.map(({ name }) => name)], [join(root, "images_detected"), [query]]);
    assert.is((await loadDataset(root, ["query"], { layout: "market1501" })).root, market);
    // Nor is a tree in the folder itself, where there are lists of CUHK03's own.
    await put(join(root, "query", "0009_c1s1_1.jpg"));
    assert.is((await loadDataset(root, undefined, { layout })).query[0].name, query);
  }));

test.run();
