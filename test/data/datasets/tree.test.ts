/** A folder for each person: the pytorch tree, plain trees, one tree. */
import { copyFile, link, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Dataset, formatDatasetTable, loadDataset, type Sample, unexcluded } from "#src/data/dataset.js";
import { evaluateRanking } from "#src/retrieval/metrics.js";
import { oddFiles, put, userError, withFolder } from "../helpers.js";

const fields = (samples: readonly Sample[]) => samples.map(({ name, pid, camid }) => [name, pid, camid]);

/** The ranking of a dataset whose images all look alike, so that what is left out decides. */
const rank = ({ query, gallery }: Dataset) =>
  evaluateRanking({
    queryIds: query.map(({ pid }) => pid),
    queryCams: query.map(({ camid }) => camid),
    galleryIds: gallery.map(({ pid }) => pid),
    galleryCams: gallery.map(({ camid }) => camid),
    similarity: async (from, to) => new Float64Array((to - from) * gallery.length),
  });

async function putPytorch(home: string) {
  for (const file of [
    "train/0002/0002_c1s1_000451_03.jpg",
    "train/0007/0007_c3s3_077419_03.jpg",
    ...["", "train", "train/0007", "val/0002", "query/0001", "gallery/0000", "multi-query/0001"].flatMap(oddFiles),
    "val/0002/0002_c2s1_000001_00.jpg",
    "train_all/0002/0002_c1s1_000451_03.jpg",
    "train_all/0002/0002_c2s1_000001_00.jpg",
    "train_all/0007/0007_c3s3_077419_03.jpg",
    "query/0001/0001_c1s1_001051_00.jpg",
    "gallery/0001/0001_c2s1_000301_01.jpg",
    "gallery/0000/0000_c1s1_000151_01.jpg",
    "gallery/-1/-1_c1s1_000401_03.jpg",
    "multi-query/0001/0001_c1s1_001076_00.jpg",
  ])
    await put(join(home, file));
}

test("the pytorch tree: cameras of the names, the folder -1, 0000, val and multi-query", () =>
  withFolder(async (root) => {
    await putPytorch(join(root, "Market", "pytorch"));
    for (const place of [join(root, "Market"), join(root, "Market", "pytorch")]) {
      const dataset = await loadDataset(place, undefined, { multiQuery: true });
      assert.equal([dataset.layout, dataset.name, dataset.warnings], ["pytorch", "Market", []]);
      assert.equal(fields(dataset.train), [
        ["0002_c1s1_000451_03.jpg", 2, 1],
        ["0007_c3s3_077419_03.jpg", 7, 3],
      ]);
      assert.equal(fields(dataset.gallery), [
        ["-1_c1s1_000401_03.jpg", -1, 1],
        ["0000_c1s1_000151_01.jpg", 0, 1],
        ["0001_c2s1_000301_01.jpg", 1, 2],
      ]);
      assert.equal(fields(dataset.multiQuery), [["0001_c1s1_001076_00.jpg", 1, 1]]);
      assert.match(formatDatasetTable(dataset), "train: train alone; --train-val adds val");
      assert.is(unexcluded(dataset), null);
    }
    const all = await loadDataset(join(root, "Market"), ["train"], { trainVal: true });
    assert.is(all.train.length, 3);
    assert.match(formatDatasetTable(all), "train: train_all");
  }));

test("validation images are asked for in vain where there are none", () =>
  withFolder(async (root) => {
    const refused = async (place: string, expected: string) =>
      assert.match((await userError(() => loadDataset(place, ["train"], { trainVal: true }))).message, expected);
    for (const file of ["one/anna/1.jpg", "one/bo/1.jpg", "parts/train/anna/1.jpg"]) await put(join(root, file));
    for (const home of ["one", "parts"])
      await refused(
        join(root, home),
        `${join(root, home)} has no validation images to train on too: looked for val and`,
      );
    await put(join(root, "market", "bounding_box_train", "0001_c1.jpg"));
    await put(join(root, "list.csv"), "one/anna/1.jpg,anna");
    for (const [place, layout] of Object.entries({ market: "market", "list.csv": "csv" }))
      await refused(join(root, place), `no validation images to train on too (layout ${layout})`);
    // What val was merged into is what was asked for.
    await put(join(root, "parts", "train_all", "anna", "1.jpg"));
    assert.is((await loadDataset(join(root, "parts"), ["train"], { trainVal: true })).train.length, 1);
  }));

test("beside the tree that it was sorted from, the pytorch tree is asked for", () =>
  withFolder(async (root) => {
    await putPytorch(join(root, "pytorch"));
    await put(join(root, "bounding_box_train", "0002_c1s1_000451_03.jpg"));
    assert.is((await loadDataset(root, ["train"])).layout, "market");
    const { layout, train } = await loadDataset(root, ["train"], { layout: "pytorch" });
    assert.equal([layout, train.length], ["pytorch", 2]);
  }));

test("MSMT17 sorted into a tree: person 0000 is somebody there", () =>
  withFolder(async (root) => {
    for (const file of [
      "train/0000/0000_000_01_0303morning_0015_0.jpg",
      "query/0000/0000_000_11_0303morning_0031_0_ex.jpg",
      "gallery/0000/0000_010_15_0303afternoon_0999_1.jpg",
      "gallery/0004/0004_002_03_0303noon_0123_0.jpg",
    ])
      await put(join(root, file));
    const dataset = await loadDataset(root);
    assert.equal(fields(dataset.query), [["0000_000_11_0303morning_0031_0_ex.jpg", 1, 11]]);
    assert.equal(
      dataset.gallery.map(({ pid, camid }) => [pid, camid]),
      [
        [1, 15],
        [2, 3],
      ],
    );
  }));

test("a plain tree: any names of people, no cameras; the query's own picture is left out however it is there", () =>
  withFolder(async (root) => {
    await put(join(root, "train", "zoe", "1.jpg"), "z");
    for (const file of ["train", "train/zoe", "query", "query/anna", "gallery/bo"].flatMap(oddFiles))
      await put(join(root, file));
    await put(join(root, "query", "anna", "1.jpg"), "a1");
    await put(join(root, "query", "anna", "2.jpg"), "a2");
    await put(join(root, "query", "bo", "1.jpg"), "b1");
    await mkdir(join(root, "gallery", "anna"), { recursive: true });
    // A link, a copy under another name, and other pictures, some of the same size.
    await symlink(join(root, "query", "anna", "1.jpg"), join(root, "gallery", "anna", "1.jpg"));
    await copyFile(join(root, "query", "anna", "2.jpg"), join(root, "gallery", "anna", "copy.jpg"));
    await mkdir(join(root, "gallery", "bo"), { recursive: true });
    await link(join(root, "query", "bo", "1.jpg"), join(root, "gallery", "bo", "1.jpg"));
    await put(join(root, "gallery", "bo", "2.jpg"), "b2");
    const dataset = await loadDataset(root);
    assert.is(dataset.layout, "folders");
    assert.equal(
      dataset.train.map(({ name, pid }) => [name, pid]),
      [["zoe/1.jpg", 3]],
    );
    assert.equal(
      dataset.gallery.map(({ name, pid }) => [name, pid]),
      [
        ["anna/1.jpg", 1],
        ["anna/copy.jpg", 1],
        ["bo/1.jpg", 2],
        ["bo/2.jpg", 2],
      ],
    );
    const { camid } = dataset.query[0];
    assert.ok(camid < 0);
    assert.equal(
      dataset.gallery.map((sample) => sample.camid === camid),
      [true, false, false, false],
    );
    assert.equal(
      dataset.gallery.map((sample) => sample.camid === dataset.query[1].camid),
      [false, true, false, false],
    );
    // anna/1 finds copy.jpg only, anna/2 the link only, and bo not itself.
    const { queries, mAP } = await rank(dataset);
    assert.is(queries, 3);
    assert.is(mAP, (1 + 1 + 1 / 3) / 3);
    assert.match(formatDatasetTable(dataset), /gallery \| +2 \| +4 \| +unknown/);
    assert.match(unexcluded(dataset) ?? "", /camera of 3 of 3 queries is not known/);
  }));

test("pictures without cameras that cannot be read have one of their own, and whoever decodes them tells of them", () =>
  withFolder(async (root) => {
    for (const file of ["query/anna/1.jpg", "gallery/anna/2.jpg", "gallery/bo/1.jpg"])
      await put(join(root, file), file);
    for (const link of ["query/anna/gone.jpg", "gallery/anna/gone.jpg"]) await symlink("nowhere", join(root, link));
    await mkdir(join(root, "gallery", "bo", "folder.jpg"));
    const { query, gallery } = await loadDataset(root, ["query", "gallery"]);
    assert.is(new Set([...query, ...gallery].map(({ camid }) => camid)).size, 6);
  }));

test("multi-queries without the queries' cameras are refused as the dataset is read", () =>
  withFolder(async (root) => {
    for (const file of ["query/anna/1.jpg", "query/0002/0002_c1.jpg", "gallery/anna/2.jpg", "multi-query/anna/3.jpg"])
      await put(join(root, file), file);
    const needed = ["query", "gallery"] as const;
    const { message } = await userError(() => loadDataset(root, needed, { multiQuery: true }));
    assert.match(message, "the cameras of 2 of 2 queries are not known. Evaluate with single queries, or give cameras");
    assert.is((await loadDataset(root, needed)).query.length, 2);
  }));

test("one tree: trained on as it is, evaluated each against all others", () =>
  withFolder(async (root) => {
    for (const file of ["3/a.jpg", "3/b.jpg", "20/a.jpg", "20/b.jpg", "100/a.jpg"]) await put(join(root, file), file);
    for (const file of ["", "3", "100"].flatMap(oddFiles)) await put(join(root, file));
    await put(join(root, "notes.txt"));
    const trained = await loadDataset(root, ["train"]);
    assert.equal(
      trained.train.map(({ name, pid }) => [name, pid]),
      [
        ["100/a.jpg", 100],
        ["20/a.jpg", 20],
        ["20/b.jpg", 20],
        ["3/a.jpg", 3],
        ["3/b.jpg", 3],
      ],
    );
    assert.equal([trained.query, trained.gallery], [[], []]);
    const evaluated = await loadDataset(root, ["query", "gallery"]);
    assert.equal([evaluated.query.length, evaluated.gallery.length], [5, 5]);
    assert.match(formatDatasetTable(evaluated), "every image is a query against all others");
    assert.match(
      formatDatasetTable(evaluated),
      `layout: folders, one for each of 3 people in ${root}; --layout names another`,
    );
    assert.not.match(formatDatasetTable(await loadDataset(root, ["train"], { layout: "folders" })), "layout:");
    // Person 100 has one picture, and no query finds itself.
    const { queries, skipped, mAP } = await rank(evaluated);
    assert.equal([queries, skipped], [4, 1]);
    assert.ok(Math.abs(mAP - (1 / 2 + 1 / 2 + 1 / 4 + 1 / 4) / 4) < 1e-9);
  }));

test("people whose numbers are not all positive are numbered in their order, the same for every part asked for", () =>
  withFolder(async (root) => {
    for (const file of ["train/10/a.jpg", "train/9/a.jpg", "query/0/a.jpg", "gallery/0/b.jpg", "gallery/x/b.jpg"])
      await put(join(root, file));
    const pids = (samples: readonly Sample[]) => samples.map(({ pid }) => pid);
    const { train, gallery } = await loadDataset(root);
    assert.equal(
      [pids(train), pids(gallery)],
      [
        [3, 2],
        [1, 4],
      ],
    );
    assert.equal(pids((await loadDataset(root, ["query", "gallery"])).gallery), [1, 4]);
  }));

test("what is no tree is refused", () =>
  withFolder(async (root) => {
    await put(join(root, "photos", "a.jpg"));
    await put(join(root, "train", "a.jpg"));
    assert.match((await userError(() => loadDataset(root, ["train"], { layout: "folders" }))).message, "No tree");
    await put(join(root, "train", "anna", "a.jpg"));
    assert.match((await userError(() => loadDataset(root))).message, `No images in ${join(root, "query")}`);
  }));

test.run();
