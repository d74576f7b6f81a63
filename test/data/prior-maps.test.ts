import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadDataset, type Sample } from "#src/data/dataset.js";
import { LABEL_SETS, type LabelSet } from "#src/data/label-sets.js";
import { movePrior, wholePrior } from "#src/data/prior.js";
import { findMaps, priorFromMaps, searchedFor } from "#src/data/prior-maps.js";
import { encodePng, greyPng, picture, put, userError, withFolder } from "./helpers.js";

const sample = (root: string, ...path: string[]): Sample => ({
  path: join(root, ...path),
  name: path[path.length - 1],
  pid: 1,
  camid: 1,
});
const SETTINGS = { rows: 4, cols: 4, labels: "lip" } as const;

test("maps are found where the tools leave them", () =>
  withFolder(async (root) => {
    const found = async (image: string[], map: string[], kind: "parsing" | "segmentation") => {
      await put(join(root, ...map));
      const [paths] = await findMaps(root, [sample(root, ...image)]);
      assert.is(paths[kind], join(root, ...map));
      assert.is(paths[kind === "parsing" ? "segmentation" : "parsing"], null);
    };
    const split = "bounding_box_train";
    await found([split, "a.jpg"], ["parsing", "a.png"], "parsing");
    await found([split, "b.jpg"], ["parsing", split, "b.png"], "parsing");
    await found([split, "c.jpg"], [`${split}_parsing`, "c.PNG"], "parsing");
    await found([split, "d.jpg"], ["segmentation", "d.png"], "segmentation");
    await found([split, "e.jpg"], [`${split}_seg`, "e.png"], "segmentation");
    await found(["images_detected", "f.png"], ["images_detected_seg", "f.png"], "segmentation");
    await found(["train", "0001", "g.jpg"], ["parsing", "0001", "g.png"], "parsing");
    await found(["train", "0001", "h.jpg"], ["parsing", "train", "0001", "h.png"], "parsing");
    await found(["pytorch", "train", "0001", "i.jpg"], ["pytorch", "train_seg", "0001", "i.png"], "segmentation");
    // An image that is a PNG itself is not its own map.
    assert.equal(await findMaps(root, [sample(root, "train", "j.png")]), [{ parsing: null, segmentation: null }]);
  }));

test("the published masks of CUHK03 are found beside its images, of the kind that these are", () =>
  withFolder(async (root) => {
    const name = "1_001_1_01.png";
    for (const kind of ["detected", "labeled"]) await put(join(root, `cuhk03_${kind}_seg`, name));
    const found = async (home: string, ...path: string[]) =>
      (await findMaps(join(root, home), [sample(join(root, home), ...path)]))[0].segmentation;
    for (const kind of ["detected", "labeled"]) {
      const mask = join(root, `cuhk03_${kind}_seg`, name);
      assert.is(await found(`images_${kind}`, name), mask);
      assert.is(await found(kind, "bounding_box_train", name), mask);
      assert.match(searchedFor(join(root, kind), sample(root, kind, name)), `cuhk03_${kind}_seg`);
    }
    assert.is(await found("other", name), null);
    // Masks beside a split are nearer.
    await put(join(root, "detected", "bounding_box_train_seg", name));
    assert.match((await found("detected", "bounding_box_train", name))!, "bounding_box_train_seg");
  }));

test("SCHP cuts four characters off a name, whatever its ending", () =>
  withFolder(async (root) => {
    for (const [image, map] of [
      ["0001_c1.jpg", "0001_c1.png"],
      ["0002_c1.jpeg", "0002_c1..png"],
      ["0003_c1.jpg.jpg", "0003_c1.jpg.png"],
      ["0004_c1.webp", "0004_c1.webp.png"],
    ]) {
      await put(join(root, "parsing", map));
      const [{ parsing }] = await findMaps(root, [sample(root, "train", image)]);
      assert.is(parsing, join(root, "parsing", map), image);
    }
  }));

test("the folder in the name of a sample is none of its map's name", () =>
  withFolder(async (root) => {
    for (const file of ["train/anna/1.jpeg", "train/bo/2.webp"]) await put(join(root, file));
    const { train } = await loadDataset(root, ["train"]);
    assert.equal(
      train.map(({ name }) => name),
      ["anna/1.jpeg", "bo/2.webp"],
    );
    const maps = [join(root, "parsing", "train", "anna", "1..png"), join(root, "parsing", "train", "bo", "2.webp.png")];
    for (const map of maps) await put(map);
    assert.equal(
      (await findMaps(root, train)).map(({ parsing }) => parsing),
      maps,
    );
  }));

test("a folder that is named takes the place of the usual ones, and must fit", () =>
  withFolder(async (root) => {
    const images = [sample(root, "train", "a.jpg"), sample(root, "train", "b.jpg")];
    await put(join(root, "parsing", "b.png"));
    await put(join(root, "elsewhere", "a.png"));
    const elsewhere = join(root, "elsewhere");
    const maps = await findMaps(root, images, { parsing: elsewhere });
    assert.equal(
      maps.map(({ parsing }) => parsing),
      [join(elsewhere, "a.png"), null],
    );
    const missing = await userError(() => findMaps(root, images, { segmentation: join(root, "nowhere") }));
    assert.match(missing.message, /There is no folder .*nowhere: the segmentation maps/);
    await put(join(root, "wrong", "z.png"));
    const wrong = await userError(() => findMaps(root, images, { parsing: join(root, "wrong") }));
    assert.match(wrong.message, /no parsing map of any of the 2 images: looked for a.png and the like, found z.png/);
    await mkdir(join(root, "empty"));
    const empty = await userError(() => findMaps(root, images, { parsing: join(root, "empty") }));
    assert.match(empty.message, "found no PNG files");
  }));

/** Labels of a person of head and leg in column 1 of four, rows `top` to `bottom` of eight. */
const person = (top: number, bottom: number, [head, leg]: readonly number[]) =>
  Array.from({ length: 32 }, (_, i) => {
    const [x, y] = [i % 4, i >> 2];
    return x !== 1 || y < top || y >= bottom ? 0 : y < top + 2 ? head : leg;
  });

test("both maps, parsing alone, segmentation alone, none; each in its tool's format and size", () =>
  withFolder(async (root) => {
    const [parsing, segmentation] = [join(root, "p.png"), join(root, "s.png")];
    const values = person(2, 6, [LABEL_SETS.lip.head[3], LABEL_SETS.lip.leg[1]]);
    await put(parsing, encodePng({ width: 4, height: 8, depth: 8, colourType: 3, values }));
    // MGCAM's: grey saved with three channels, of another size; here the lower half of the picture's left half.
    const mask = Array.from({ length: 16 * 12 }, (_, i) => (i % 16 < 8 && i >= 16 * 6 ? 255 : 0));
    const rgb = Uint8Array.from(mask.flatMap((v) => [v, v, v]));
    const { default: sharp } = await import("sharp");
    await put(
      segmentation,
      await sharp(rgb, { raw: { width: 16, height: 12, channels: 3 } })
        .png()
        .toBuffer(),
    );

    const lines = async (paths: { parsing: string | null; segmentation: string | null }) => {
      const { mask, top, bottom, reliable } = await priorFromMaps("a.jpg", paths, SETTINGS);
      return [mask.join("").match(/..../g)!.join(" "), top, bottom, reliable];
    };
    assert.equal(await lines({ parsing, segmentation }), ["0000 0110 1110 1110", 1, 4, true]);
    assert.equal(await lines({ parsing, segmentation: null }), ["0000 0110 0110 0000", 1, 3, true]);
    assert.equal(await lines({ parsing: null, segmentation }), ["0000 0000 1110 1110", 2, 4, true]);
    assert.equal(await priorFromMaps("a.jpg", { parsing: null, segmentation: null }, SETTINGS), wholePrior(SETTINGS));
    await put(segmentation, greyPng(4, 4, new Array(16).fill(0)));
    assert.equal(await priorFromMaps("a.jpg", { parsing: null, segmentation }, SETTINGS), wholePrior(SETTINGS));
  }));

test("every label set: its heads and legs are seen, its last label is known and the next one is not", () =>
  withFolder(async (root) => {
    const path = join(root, "map.png");
    for (const [labels, set] of Object.entries(LABEL_SETS) as [LabelSet, (typeof LABEL_SETS)[LabelSet]][]) {
      const reliable = async (values: number[]) => {
        await put(path, greyPng(4, 8, values));
        return (await priorFromMaps("a.jpg", { parsing: path, segmentation: null }, { ...SETTINGS, labels })).reliable;
      };
      for (const head of set.head)
        assert.is(await reliable(person(0, 8, [head, set.leg[0]])), true, `${labels} ${head}`);
      for (const leg of set.leg) assert.is(await reliable(person(0, 8, [set.head[0], leg])), true, `${labels} ${leg}`);
      assert.is(await reliable(person(0, 8, [set.head[0], set.head[0]])), false);
      assert.is(await reliable(person(0, 8, [set.leg[0], set.leg[0]])), false);
      const others = person(0, 8, [set.head[0], set.leg[0]]);
      assert.is(await reliable(others.with(0, set.labels - 1)), true);
      const { message } = await userError(() => reliable(others.with(0, set.labels)));
      assert.match(message, `label ${set.labels}; ${labels} has 0 to ${set.labels - 1}`);
    }
  }));

test("void pixels are nobody's; a segmentation among the parsing maps is found out", () =>
  withFolder(async (root) => {
    const path = join(root, "map.png");
    const values = person(2, 6, [13, 9]);
    await put(
      path,
      greyPng(
        4,
        8,
        values.map((v, i) => (i < 8 ? 255 : v)),
      ),
    );
    const prior = await priorFromMaps("a.jpg", { parsing: path, segmentation: null }, SETTINGS);
    assert.equal([prior.top, prior.bottom, prior.reliable], [1, 3, true]);
    await put(
      path,
      greyPng(
        4,
        8,
        values.map((v) => (v ? 255 : 0)),
      ),
    );
    const { message } = await userError(() => priorFromMaps("a.jpg", { parsing: path, segmentation: null }, SETTINGS));
    assert.match(message, /map.png holds the label 255; lip has 0 to 19.*or a segmentation map\?/);
    await put(path, await picture(4, 8, [120, 130, 140], "png"));
    const photo = await userError(() => priorFromMaps("a.jpg", { parsing: path, segmentation: null }, SETTINGS));
    assert.match(photo.message, /\(120, 130, 140\)/);
  }));

test("a prior that is moved with its image is the prior of moved maps", () =>
  withFolder(async (root) => {
    const [width, height] = [8, 16];
    const settings = { rows: 8, cols: 4, labels: "lip" } as const;
    /** A person of head 13 and trousers 9, one cell wide, its left foot standing out by one more. */
    const at = (dx: number, dy: number) =>
      Array.from({ length: width * height }, (_, i) => {
        const [x, y] = [(i % width) - dx, Math.floor(i / width) - dy];
        if (y < 4 || y >= 10 || x < (y >= 8 ? 2 : 4) || x >= 6) return 0;
        return y < 6 ? 13 : 9;
      });
    const prior = async (values: number[]) => {
      const path = join(root, "map.png");
      await put(path, encodePng({ width, height, depth: 4, colourType: 3, values }));
      return priorFromMaps("a.jpg", { parsing: path, segmentation: null }, settings);
    };
    // A pixel of the map is 8 x 8 of the network's input and half a cell high and wide: two sub-cells.
    const original = await prior(at(0, 0));
    const moved = (right: number, down: number, flip = false) => {
      const augmentation = { flip, shiftX: 8 * right, shiftY: 8 * down, erase: null };
      const { mask, top, bottom } = movePrior(original, augmentation, { width: 64, height: 128 });
      return { mask, top, bottom };
    };
    for (const right of [-3, -2, -1, 0, 1, 2]) {
      for (const down of [-4, -1, 0, 2, 3, 5]) {
        const { mask, top, bottom } = await prior(at(right, down));
        assert.equal(moved(right, down), { mask, top, bottom }, `${right}, ${down}`);
      }
    }
    // Mirrored, the dilation goes to the left: the mirrored maps' own one goes to the right.
    const mirrored = await prior(at(0, 0).map((_, i, all) => all[i - (i % width) + width - 1 - (i % width)]));
    const flipped = moved(0, 0, true);
    assert.equal([flipped.top, flipped.bottom], [mirrored.top, mirrored.bottom]);
    assert.equal([...flipped.mask].join("").match(/..../g), [
      "0000",
      "0000",
      "1100",
      "1100",
      "1110",
      "0000",
      "0000",
      "0000",
    ]);
    assert.equal([...mirrored.mask].join("").match(/..../g)![2], "0110");
  }));

test.run();
