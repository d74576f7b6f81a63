/** Market-1501, DukeMTMC-reID and plain trees of the same kind. */
import { mkdirSync, writeFileSync } from "node:fs";
import { rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  datasetTable,
  formatDatasetTable,
  type Layout,
  loadDataset,
  type Sample,
  trainIdentities,
} from "#src/data/dataset.js";
import { oddFiles, put, userError, withFolder } from "../helpers.js";

/** A few of the files that the archive holds, the odd ones included. */
async function putMarket(home: string) {
  const files = [
    "readme.txt",
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0007_c3s3_077419_03.jpg",
    "bounding_box_train/Thumbs.db",
    "query/0001_c1s1_001051_00.jpg",
    "query/0001_c2s1_000301_00.jpg",
    "query/Thumbs.db",
    "bounding_box_test/0001_c1s1_001051_03.jpg",
    "bounding_box_test/0001_c2s1_000301_01.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/Thumbs.db",
    "gt_bbox/0001_c1s1_001051_00.jpg",
    "gt_bbox/0001_c1s1_001076_00.jpg",
    "gt_bbox/0002_c1s1_000451_00.jpg",
    "gt_bbox/Thumbs.db",
    "gt_query/0001_c1s1_001051_00_good.mat",
    "gt_query/0001_c1s1_001051_00_junk.mat",
  ];
  for (const file of files) await put(join(home, file));
}

test("Market-1501: junk, distractors and Thumbs.db; counts that differ from the published ones are told", () =>
  withFolder(async (root) => {
    await putMarket(join(root, "Market-1501-v15.09.15"));
    const dataset = await loadDataset(root, undefined, { multiQuery: true });
    assert.is(dataset.layout, "market1501");
    assert.equal(
      dataset.gallery.map(({ pid, camid }) => [pid, camid]),
      [
        [-1, 1],
        [0, 1],
        [1, 1],
        [1, 2],
      ],
    );
    assert.equal(
      dataset.multiQuery.map(({ name, pid, camid }) => [name, pid, camid]),
      [
        ["0001_c1s1_001051_00.jpg", 1, 1],
        ["0001_c1s1_001076_00.jpg", 1, 1],
        ["0002_c1s1_000451_00.jpg", 2, 1],
      ],
    );
    assert.equal(dataset.warnings, [
      "Market-1501 has 12,936 training images of 751 people; found 2 of 2 people.",
      "Market-1501 has 3,368 query images of 750 people; found 2 of 1 people.",
      "Market-1501 has 19,732 gallery images of 750 people; found 4 of 1 people.",
      "Market-1501 has 25,259 multi-query images of 1,501 people; found 3 of 2 people.",
    ]);
    assert.match(formatDatasetTable(dataset), /multi-query \| +2 \| +3 \| +1/);
  }));

test("anybody's pictures in the same tree are held to no counts, unless the layout is named", () =>
  withFolder(async (root) => {
    await putMarket(root);
    const own = await loadDataset(root);
    assert.equal([own.layout, own.warnings, own.multiQuery], ["market", [], []]);
    assert.match(
      formatDatasetTable(own),
      "layout: market, anybody's pictures in Market-1501's tree; --layout market1501 or",
    );
    const named = await loadDataset(root, ["query", "gallery"], { layout: "market1501" });
    assert.equal([named.warnings.length, named.notes], [3, []]);
    assert.equal((await loadDataset(root, ["query"], { layout: "market" })).notes, []);
  }));

test("a published dataset is known by its counts, whatever its folder is called", () =>
  withFolder(async (root) => {
    // The smallest one with this tree: CUHK03 as it was split anew.
    const lists = {
      bounding_box_train: [7_365, 1, 767],
      query: [1_400, 768, 700],
      bounding_box_test: [5_332, 768, 700],
    };
    for (const [folder, [images, first, people]] of Object.entries(lists)) {
      mkdirSync(join(root, folder));
      for (let i = 0; i < images; i++) {
        const pid = String(first + (i % people)).padStart(4, "0");
        writeFileSync(join(root, folder, `${pid}_c${1 + (i % 2)}_${i}.png`), "");
      }
    }
    const whole = await loadDataset(root);
    assert.equal([whole.layout, whole.notes, whole.warnings], ["cuhk03-detected", [], []]);
    await rm(join(root, "query", "0768_c1_0.png"));
    const less = await loadDataset(root);
    assert.equal([less.layout, less.notes.length, less.warnings], ["market", 1, []]);
  }));

test("DukeMTMC-reID: its names, and its counts", () =>
  withFolder(async (root) => {
    const home = join(root, "DukeMTMC-reID");
    for (const file of [
      "CITATION_DukeMTMC.txt",
      "LICENSE_DukeMTMC-reID.txt",
      "README.md",
      "bounding_box_train/0001_c2_f0046182.jpg",
      ...["bounding_box_train", "query", "bounding_box_test"].flatMap(oddFiles),
      "query/0005_c2_f0046985.jpg",
      "bounding_box_test/0005_c5_f0053021.jpg",
      "bounding_box_test/4051_c8_f0000001.jpg",
    ])
      await put(join(home, file));
    for (const place of [root, home]) {
      const dataset = await loadDataset(place);
      assert.equal([dataset.layout, dataset.name, dataset.root], ["dukemtmc", "DukeMTMC-reID", home]);
      assert.equal(
        dataset.gallery.map(({ pid, camid }) => [pid, camid]),
        [
          [5, 5],
          [4051, 8],
        ],
      );
      assert.match(dataset.warnings[1], "DukeMTMC-reID has 2,228 query images of 702 people; found 1 of 1 people");
    }
    assert.match((await userError(() => loadDataset(home, ["query"], { multiQuery: true }))).message, "gt_bbox");
  }));

test("several published datasets side by side: each is read under its own name alone", () =>
  withFolder(async (root) => {
    const [market, duke] = [join(root, "Market-1501-v15.09.15"), join(root, "DukeMTMC-reID")];
    await putMarket(market);
    const load = (layout?: Layout) => loadDataset(root, ["query"], { layout });
    assert.is((await load("market")).root, market);
    const lacking = (await userError(() => load("dukemtmc"))).message;
    assert.match(lacking, /looked for .* or DukeMTMC-reID, found Market-1501-v15\.09\.15/);
    await put(join(duke, "query", "0005_c2_f0046985.jpg"));
    for (const [layout, home] of Object.entries({ market1501: market, dukemtmc: duke }))
      assert.is((await load(layout as Layout)).root, home);
    for (const layout of [undefined, "market"] as const) {
      const { message } = await userError(() => load(layout));
      assert.match(message, `${root} holds 2 datasets. Say which: --layout market1501 or --layout dukemtmc`);
    }
    await put(join(root, "MSMT17_V1", "list_query.txt"));
    await rm(duke, { recursive: true });
    assert.match((await userError(() => load())).message, "--layout market1501 or --layout msmt17");
  }));

test("people numbered from 0: 0000 is one of them where the gallery is not alone in showing it", () =>
  withFolder(async (root) => {
    const [train, query] = [join(root, "bounding_box_train"), join(root, "query")];
    await put(join(train, "0000_c1_1.jpg"));
    await put(join(train, "0001_c1_1.jpg"));
    for (const name of ["0000_c1_2.jpg", "0002_c1_1.jpg"]) await put(join(query, name));
    for (const name of ["-1_c1_1.jpg", "0000_c2_3.jpg", "0002_c2_2.jpg"])
      await put(join(root, "bounding_box_test", name));
    const pids = (samples: readonly Sample[]) => samples.map(({ pid }) => pid);
    const zero = 2 ** 31 - 1;
    const own = await loadDataset(root, undefined, { layout: "market" });
    assert.equal(trainIdentities(own.train).pids, [1, zero]);
    assert.equal(
      [pids(own.query), pids(own.gallery)],
      [
        [zero, 2],
        [-1, zero, 2],
      ],
    );
    assert.is(datasetTable(own)[2].distractors, 0);
    // A published dataset has nobody of that number.
    const published = await loadDataset(root, undefined, { layout: "market1501" });
    assert.equal(trainIdentities(published.train).pids, [1]);
    assert.equal(pids(published.gallery), [-1, 0, 2]);
    assert.match(published.warnings.join(), "2 training and query images have the pid 0, which stands for nobody");
    // Searched for, but not trained on.
    await rm(train, { recursive: true });
    assert.equal(pids((await loadDataset(root, ["query", "gallery"])).gallery), [-1, zero, 2]);
    // In the gallery alone it is nobody.
    await rm(join(query, "0000_c1_2.jpg"));
    const alone = await loadDataset(root, ["query", "gallery"]);
    assert.equal([pids(alone.gallery), alone.warnings], [[-1, 0, 2], []]);
  }));

test("further distractors join the gallery whatever they are called, and are not held against its counts", () =>
  withFolder(async (root) => {
    await putMarket(root);
    const plain = await loadDataset(root, ["query", "gallery"], { layout: "market1501" });
    for (const file of ["a/0000_c6s4_000001_00.jpg", "b/0001_c1s1_9.jpg", "b/-1_c2_1.jpg", "b/noname.jpg", "Thumbs.db"])
      await put(join(root, "images", file));
    for (const distractors of ["images", join(root, "images")]) {
      const dataset = await loadDataset(root, ["query", "gallery"], { layout: "market1501", distractors });
      assert.equal(
        dataset.gallery.slice(plain.gallery.length).map(({ name, pid }) => [name, pid]),
        [
          ["0000_c6s4_000001_00.jpg", 0],
          ["-1_c2_1.jpg", -1],
          ["0001_c1s1_9.jpg", 0],
          ["noname.jpg", 0],
        ],
      );
      assert.equal(dataset.warnings, [...plain.warnings, "Market-1501 has 500,000 further distractors; found 4."]);
      assert.match(formatDatasetTable(dataset), /gallery: with 4 images of .*images/);
    }
    const missing = await userError(() => loadDataset(root, ["gallery"], { distractors: "nowhere" }));
    assert.match(missing.message, /No folder of distractors nowhere/);
    const tree = { layout: "folders", distractors: "images" } as const;
    await put(join(root, "gallery", "anna", "1.jpg"));
    assert.match((await userError(() => loadDataset(root, ["gallery"], tree))).message, /layout folders/);
  }));

test("distractors' folders that links lead back to are read once", () =>
  withFolder(async (root) => {
    await putMarket(root);
    await put(join(root, "images", "b", "0000_c1_1.jpg"));
    await symlink(".", join(root, "images", "self"));
    // Sorted before what it leads to, which is called by its own name still.
    await symlink("b", join(root, "images", "a"));
    await put(join(root, "elsewhere", "0000_c2_1.jpg"));
    await symlink(join(root, "elsewhere"), join(root, "images", "b", "more"));
    const plain = await loadDataset(root, ["gallery"]);
    const { gallery } = await loadDataset(root, ["gallery"], { distractors: "images" });
    assert.equal(
      gallery.slice(plain.gallery.length).map(({ path }) => path),
      ["b/0000_c1_1.jpg", "b/more/0000_c2_1.jpg"].map((file) => join(root, "images", file)),
    );
  }));

test("a missing gt_bbox is named", () =>
  withFolder(async (root) => {
    await putMarket(root);
    await rm(join(root, "gt_bbox"), { recursive: true });
    const { message } = await userError(() => loadDataset(root, ["query", "gallery"], { multiQuery: true }));
    assert.match(message, `No folder ${join(root, "gt_bbox")}`);
  }));

test.run();
