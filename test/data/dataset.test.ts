import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { datasetTable, formatDatasetTable, loadDataset, trainIdentities } from "#src/data/dataset.js";
import { put, userError, withFolder } from "./helpers.js";

const TRAIN = ["0007_c1s1_000003_00.jpg", "0002_c2s1_000001_00.jpg", "0002_c11s1_000001_00.png"];
const QUERY = ["0010_c1s1_000001_00.webp"];
const GALLERY = [
  "0010_c2s1_000001_00.jpeg",
  "0000_c3s1_000001_00.jpg",
  "-1_c1s1_000001_00.jpg",
  "-1_c2s1_000002_00.jpg",
];

async function putDataset(root: string) {
  for (const name of TRAIN) await put(join(root, "bounding_box_train", name));
  for (const name of QUERY) await put(join(root, "query", name));
  for (const name of GALLERY) await put(join(root, "bounding_box_test", name));
}

test("reads names, sorts, and ignores what is no image", () =>
  withFolder(async (root) => {
    await putDataset(root);
    for (const stray of ["Thumbs.db", "readme.txt", "._0002_c2s1_000001_00.jpg", ".DS_Store"])
      await put(join(root, "bounding_box_train", stray));
    const { name, train, query, gallery } = await loadDataset(root);
    assert.ok(root.endsWith(name));
    assert.equal(
      train.map(({ name, pid, camid }) => [name, pid, camid]),
      [
        ["0002_c11s1_000001_00.png", 2, 11],
        ["0002_c2s1_000001_00.jpg", 2, 2],
        ["0007_c1s1_000003_00.jpg", 7, 1],
      ],
    );
    assert.is(train[0].path, join(root, "bounding_box_train", train[0].name));
    assert.equal(
      query.map(({ pid }) => pid),
      [10],
    );
    assert.equal(
      gallery.map(({ pid, camid }) => [pid, camid]),
      [
        [-1, 1],
        [-1, 2],
        [0, 3],
        [10, 2],
      ],
    );
  }));

test("finds the folder of the published archive", () =>
  withFolder(async (root) => {
    await putDataset(join(root, "Market-1501-v15.09.15"));
    const dataset = await loadDataset(root);
    assert.is(dataset.name, "Market-1501-v15.09.15");
    assert.is(dataset.root, join(root, "Market-1501-v15.09.15"));
    assert.is(dataset.train.length, 3);
  }));

test("the table counts as torchreid does", () =>
  withFolder(async (root) => {
    await putDataset(root);
    const dataset = await loadDataset(root, undefined, { layout: "market" });
    assert.equal(datasetTable(dataset), [
      { subset: "train", ids: 2, images: 3, cameras: 3, junk: 0, distractors: 0 },
      { subset: "query", ids: 1, images: 1, cameras: 1, junk: 0, distractors: 0 },
      { subset: "gallery", ids: 2, images: 2, cameras: 2, junk: 2, distractors: 1 },
    ]);
    assert.is(
      formatDatasetTable(dataset),
      [
        "subset  | # ids | # images | # cameras",
        "--------+-------+----------+----------",
        "train   |     2 |        3 |         3",
        "query   |     1 |        1 |         1",
        "gallery |     2 |        2 |         2",
        "gallery: 1 distractors (one id, 0) counted, 2 junk images (id -1) left out",
      ].join("\n"),
    );
  }));

test("labels follow the pids; junk and distractors get none", () => {
  const sample = (pid: number) => ({ path: "", name: "", pid, camid: 1 });
  const { pids, labels } = trainIdentities([9, -1, 4, 0, 9, 1500].map(sample));
  assert.equal(pids, [4, 9, 1500]);
  assert.equal([...labels], [1, -1, 0, -1, 1, 2]);
});

test("missing and empty folders are named, with what was found", () =>
  withFolder(async (root) => {
    const nowhere = join(root, "nowhere");
    assert.match((await userError(() => loadDataset(nowhere))).message, `No dataset at ${nowhere}: there is no such`);
    await put(join(root, "photos", "a.jpg"));
    assert.match((await userError(() => loadDataset(root))).message, /bounding_box_train.*found photos/);
    await put(join(root, "bounding_box_train", "Thumbs.db"));
    const { message } = await userError(() => loadDataset(root));
    assert.match(message, `No images in ${join(root, "bounding_box_train")}`);
    assert.match(message, "found Thumbs.db");
    assert.match((await userError(() => loadDataset(root, ["query"]))).message, `No folder ${join(root, "query")}`);
    await put(join(root, "query", QUERY[0]));
    const { train, query, gallery } = await loadDataset(root, ["query"]);
    assert.equal([train.length, query.length, gallery.length], [0, 1, 0]);
  }));

test("names without identity are listed and counted", () =>
  withFolder(async (root) => {
    await putDataset(root);
    for (let i = 1; i <= 7; i++) await put(join(root, "query", `holiday${i}.jpg`));
    const { message } = await userError(() => loadDataset(root));
    assert.match(message, "in the names of 7 of 8 images: holiday1.jpg, holiday2.jpg");
    assert.match(message, "and 2 more");
    assert.match(message, "0001_c1s1_001051_00.jpg");
  }));

test.run();
