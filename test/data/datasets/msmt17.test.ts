import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { formatDatasetTable, loadDataset, trainIdentities } from "#src/data/dataset.js";
import { put, userError, withFolder } from "../helpers.js";

const LISTS = {
  train: ["0000/0000_000_01_0303morning_0015_0.jpg 0", "0001/0001_000_05_0303noon_0200_1.jpg 1"],
  val: ["0000/0000_001_12_0302afternoon_1151_2.jpg 0"],
  query: ["0000/0000_000_11_0303morning_0031_0_ex.jpg 0"],
  gallery: ["0000/0000_010_15_0303afternoon_0999_1.jpg 0", "0001/0001_002_03_0303noon_0123_0.jpg 1"],
};

/** Every image of the lists in its person's folder; lines end as the archive's do. */
async function putMsmt(home: string, folders: { train: string; test: string }) {
  for (const [list, lines] of Object.entries(LISTS)) {
    await put(join(home, `list_${list}.txt`), lines.map((line) => `${line}\n`).join(""));
    const folder = list === "train" || list === "val" ? folders.train : folders.test;
    for (const line of lines) await put(join(home, folder, line.split(" ")[0]));
  }
  await put(join(home, folders.train, "0000", "Thumbs.db"));
  await put(join(home, "README.txt"));
}

const V1 = { train: "train", test: "test" };
const V2 = { train: "mask_train_v2", test: "mask_test_v2" };

for (const [version, folders] of Object.entries({ MSMT17_V1: V1, MSMT17_V2: V2 }))
  test(`${version}: lists, cameras, people from 0`, () =>
    withFolder(async (root) => {
      await putMsmt(join(root, version), folders);
      for (const place of [root, join(root, version)]) {
        const dataset = await loadDataset(place);
        assert.equal([dataset.layout, dataset.name], ["msmt17", version]);
        const fields = (samples: typeof dataset.train) => samples.map(({ pid, camid }) => [pid, camid]);
        // Nobody of the two parts shares a number, and none is 0, which stands for nobody.
        assert.equal(fields(dataset.train), [
          [1, 1],
          [2, 5],
        ]);
        assert.equal(fields(dataset.query), [[1042, 11]]);
        assert.equal(fields(dataset.gallery), [
          [1042, 15],
          [1043, 3],
        ]);
        assert.is(dataset.train[0].path, join(root, version, folders.train, LISTS.train[0].split(" ")[0]));
        assert.equal(trainIdentities(dataset.train).pids, [1, 2]);
        assert.match(
          formatDatasetTable(dataset),
          "train: list_train.txt alone; --train-val adds list_val.txt (1 images)",
        );
        assert.match(dataset.warnings[0], "MSMT17 has 30,248 training images of 1,041 people; found 2 of 2 people");
      }
    }));

test("with the validation images, which the table says", () =>
  withFolder(async (root) => {
    await putMsmt(join(root, "MSMT17_V1"), V1);
    const dataset = await loadDataset(root, ["train"], { trainVal: true });
    assert.equal(
      dataset.train.map(({ pid, camid }) => [pid, camid]),
      [
        [1, 1],
        [2, 5],
        [1, 12],
      ],
    );
    assert.match(formatDatasetTable(dataset), "train: list_train.txt and list_val.txt (1 images)");
    assert.match(dataset.warnings[0], "has 32,621 training images");
    await rm(join(root, "MSMT17_V1", "list_val.txt"));
    assert.match((await userError(() => loadDataset(root, ["train"], { trainVal: true }))).message, "list_val.txt");
    assert.is((await loadDataset(root, ["train"])).train.length, 2);
  }));

test("missing images, odd lines and both versions at once are named", () =>
  withFolder(async (root) => {
    const home = join(root, "MSMT17_V1");
    await putMsmt(home, V1);
    await rm(join(home, "test", "0001"), { recursive: true });
    const { message } = await userError(() => loadDataset(root));
    assert.match(message, /list_gallery\.txt.* names 2 images, 1 of which are not there: .*0001_002_03/);
    await put(join(home, "list_gallery.txt"), "0000/0000_010_15_0303afternoon_0999_1.jpg\n");
    assert.match((await userError(() => loadDataset(root))).message, /list_gallery\.txt, line 1: "0000/);
    await putMsmt(join(root, "MSMT17_V2"), V2);
    assert.match((await userError(() => loadDataset(root))).message, /more than once: MSMT17_V1, MSMT17_V2/);
    assert.match(
      (await userError(() => loadDataset(join(root, ".."), ["train"], { layout: "msmt17" }))).message,
      "No MSMT17",
    );
  }));

test.run();
