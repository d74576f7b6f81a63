/** `mpn explain` as a process: what it writes, what its JSON says, and what it refuses. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const train = join(dataset, "bounding_box_train");
const picture = join(train, "0002_c1s1_000000_00.jpg");
const checkpoint = (name: string) => join(folder, name, "checkpoint.safetensors");

interface Found {
  name: string;
  person: number;
  probability: number;
  predicted: number;
  map: number[][];
}

async function json(...args: string[]) {
  const { code, stdout, stderr } = await mpn(["explain", ...args, "--json"]);
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

test.before(async () => {
  await writeTinyDataset(dataset);
  for (const tasks of ["main+aux", "aux"]) {
    const out = join(folder, tasks);
    const few = ["--set", "epochs=1", "--set", `tasks=${tasks}`, "--no-evaluate"];
    const { code, stderr } = await mpn(["train", dataset, "--out", out, ...tinyArguments, ...few]);
    assert.is(code, 0, stderr);
  }
});

test("two networks over a folder: a PNG for each picture, one page, all maps in the JSON", async () => {
  const out = join(folder, "explained");
  const two = [
    "--weights",
    checkpoint("main+aux"),
    "--weights",
    checkpoint("aux"),
    "--label",
    "MPN",
    "--label",
    "Base",
  ];
  const result = await json(join(dataset, "query"), ...two, "--out", out);
  assert.equal(
    result.models.map((m: { label: string; classifiers: string[] }) => [m.label, m.classifiers]),
    ["MPN", "Base"].map((label) => [label, ["part 1", "part 2", "part 3"]]),
  );
  assert.is(result.images.length, 2);
  for (const { png, models } of result.images) {
    const { width, height } = await sharp(png).metadata();
    assert.ok(width! > 4 * 64 && height! > 2 * 288);
    for (const { classifiers } of models) {
      for (const { person, predicted, probability, map } of classifiers as Found[]) {
        assert.is(person, predicted);
        assert.ok([1, 2, 3].includes(person));
        assert.ok(probability > 1 / 3 && probability <= 1);
        assert.equal([map.length, map[0].length], [3, 1]);
        const top = Math.max(...map.flat());
        assert.ok(top === 1 || top === 0);
      }
    }
  }
  const page = readFileSync(result.page, "utf8");
  assert.is(page.split("data:image/jpeg;base64,").length - 1, 2 * 2 * 4);
  assert.match(page, "0004_c1s1_000000_00.jpg");
  assert.match(page, "Base");
  // Once more into the same folder is fine.
  await json(join(dataset, "query"), ...two, "--out", out);
});

test("--class: a person of the training set, or the one of the name", async () => {
  const weights = ["--weights", checkpoint("main+aux")];
  const people = async (path: string, which: string) => {
    const result = await json(path, ...weights, "--class", which, "--out", join(folder, `class ${which}`));
    return result.images[0].models[0].classifiers.map(({ person }: Found) => person);
  };
  assert.equal(await people(picture, "3"), [3, 3, 3]);
  assert.equal(await people(picture, "true"), [2, 2, 2]);
  const unknown = await mpn(["explain", picture, ...weights, "--class", "9", "--out", join(folder, "none")]);
  assert.is(unknown.code, 2);
  assert.match(unknown.stderr, "was not trained on that person; it knows 3: 1, 2, 3");
  assert.is((await mpn(["explain", picture, ...weights, "--class", "anyone"])).code, 2);
});

test("--parsing: how much of each map lies on its own part", async () => {
  const parsing = join(folder, "parsing");
  mkdirSync(parsing);
  // Head, torso and legs in thirds; labels of LIP.
  const labels = Uint8Array.from({ length: 96 * 32 }, (_, i) => [2, 5, 9][Math.floor(i / (32 * 32))]);
  const map = await sharp(labels, { raw: { width: 32, height: 96, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toBuffer();
  writeFileSync(join(parsing, "0002_c1s1_000000_00.png"), map);
  const weights = ["--weights", checkpoint("main+aux")];
  const result = await json(train, ...weights, "--parsing", parsing, "--out", join(folder, "focus"));
  const { focus } = result.models[0];
  assert.is(focus.pictures, 1, "one picture has a map");
  assert.is(focus.shares.length, 3);
  // A map of zeros, where nothing speaks for the person, has no shares.
  const rows: [number, number[]][] = focus.shares.flatMap((row: number[] | null, k: number) => (row ? [[k, row]] : []));
  assert.ok(rows.length > 0);
  for (const [, row] of rows) assert.ok(Math.abs(row[0] + row[1] + row[2] - 1) < 1e-6);
  const own = rows.reduce((sum, [k, row]) => sum + row[k] / rows.length, 0);
  assert.ok(Math.abs(focus.own - own) < 1e-6);
  assert.match(readFileSync(result.page, "utf8"), "On its own part");

  const { stdout } = await mpn(["explain", picture, ...weights, "--parsing", parsing, "--out", join(folder, "focus")]);
  assert.match(stdout, /lies on the classifier's own part \(33.3% by chance; 1 pictures\)/);
  const none = await mpn([
    "explain",
    picture,
    ...weights,
    "--parsing",
    join(folder, "nowhere"),
    "--out",
    join(folder, "no"),
  ]);
  assert.is(none.code, 1);
  assert.match(none.stderr, "the parsing maps were to be found there");
  assert.not.ok(existsSync(join(folder, "no")));
  assert.is((await mpn(["explain", picture, ...weights, "--segmentation", parsing])).code, 2);
});

test("a picture that cannot be read is left out, two of one name both have a PNG", async () => {
  const pictures = join(folder, "pictures");
  for (const part of ["a", "b"]) {
    mkdirSync(join(pictures, part), { recursive: true });
    writeFileSync(join(pictures, part, "same.jpg"), readFileSync(picture));
  }
  writeFileSync(join(pictures, "broken.png"), "no picture");
  const out = join(folder, "both");
  const result = await json(pictures, "--weights", checkpoint("aux"), "--out", out);
  assert.is(result.unreadable, 1);
  assert.equal(readdirSync(out).sort(), ["explain.html", "same-2.png", "same.png"]);
  assert.is(result.models[0].label, "aux");
});

test("what it refuses, it refuses before anything is written", async () => {
  const weights = ["--weights", checkpoint("main+aux")];
  const refused = async (exitCode: number, message: string, ...args: string[]) => {
    const { code, stderr } = await mpn(["explain", picture, ...args]);
    assert.is(code, exitCode, stderr);
    assert.match(stderr, message);
  };
  const converted = join(folder, "weights.safetensors");
  assert.is((await mpn(["convert", checkpoint("main+aux"), "--out", converted])).code, 0);
  const out = join(folder, "new");
  await refused(1, "holds weights without classifiers", "--weights", converted, "--out", out);
  await refused(2, "Name the checkpoint.safetensors", "--out", out);
  await refused(2, "1 --weights and 2 --label", ...weights, "--label", "a", "--label", "b", "--out", out);
  await refused(2, "--layout is that of the dataset", ...weights, "--layout", "market", "--out", out);
  await refused(2, "pictures to explain or their maps lie there", ...weights, "--out", train);
  // Into a folder of its own too, where its pictures would be called as the maps are.
  const earlier = join(folder, "explained");
  for (const maps of [
    ["--parsing", earlier],
    ["--parsing", join(folder, "parsing"), "--segmentation", earlier],
  ])
    await refused(2, "or their maps lie there", ...weights, ...maps, "--out", earlier);
  assert.not.ok(existsSync(out));
  mkdirSync(out);
  writeFileSync(join(out, "mine.txt"), "");
  await refused(1, "was not made by mpn explain", ...weights, "--out", out);
  assert.equal(readdirSync(out), ["mine.txt"]);
  rmSync(out, { recursive: true });
});

test.run();
