/** `mpn prior` and `mpn train` on maps in the user's own folders. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, parse } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parse as parseYaml } from "yaml";
import { readSafetensors } from "#src/formats/safetensors.js";
import { encodePng } from "../data/helpers.js";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const maps = join(folder, "maps of a parser");

test.before(async () => {
  await writeTinyDataset(dataset);
  mkdirSync(maps);
  // Head and lower legs of Pascal-Person-Part, the whole width.
  const values = Array.from({ length: 20 * 50 }, (_, i) => (i < 200 ? 0 : i < 400 ? 1 : 6));
  for (const name of readdirSync(join(dataset, "bounding_box_train")).slice(1)) {
    const png = encodePng({ width: 20, height: 50, depth: 4, colourType: 3, values });
    writeFileSync(join(maps, `${parse(name).name}.png`), png);
  }
});

async function json(...args: string[]) {
  const { code, stdout, stderr } = await mpn([...args, "--json"]);
  return { code, stderr, ...JSON.parse(stdout) };
}

test("prior takes the maps of a folder that is named", async () => {
  const result = await json("prior", dataset, "--parsing", maps, "--labels", "pascal", "--preset", "small");
  assert.is(result.code, 0, result.stderr);
  const { reliable, segmentationOnly, unreliable, missing } = result;
  assert.equal(
    { reliable, segmentationOnly, unreliable, missing },
    {
      reliable: 11,
      segmentationOnly: 0,
      unreliable: 0,
      missing: 1,
    },
  );
});

test("maps of another label set are refused with what to do", async () => {
  writeFileSync(
    join(maps, `${parse(readdirSync(join(dataset, "bounding_box_train"))[0]).name}.png`),
    encodePng({ width: 2, height: 2, depth: 4, colourType: 3, values: [0, 9, 13, 0] }),
  );
  const result = await json("prior", dataset, "--parsing", maps, "--labels", "pascal", "--preset", "small");
  assert.is(result.code, 1);
  assert.match(result.error, /holds the label 9; pascal has 0 to 6.*--labels/);
});

test("without maps, and with a folder that is not there, it says where it looked", async () => {
  const none = await json("prior", dataset, "--preset", "small");
  assert.is(none.code, 0);
  assert.is(none.missing, 12);
  assert.match(none.stderr, /there are no maps: looked for 0001_c1.*\.png.* in parsing, .*bounding_box_train_seg/);
  const { code, error } = await json("prior", dataset, "--segmentation", join(folder, "nowhere"));
  assert.is(code, 1);
  assert.match(error, /There is no folder .*nowhere/);
});

test("train keeps the folder among its settings", async () => {
  const out = join(folder, "run");
  const segmentation = join(folder, "masks");
  mkdirSync(segmentation);
  for (const name of readdirSync(join(dataset, "bounding_box_train"))) {
    const values = Array.from({ length: 10 * 10 }, (_, i) => (i < 20 ? 0 : 255));
    writeFileSync(
      join(segmentation, `${parse(name).name}.png`),
      encodePng({ width: 10, height: 10, depth: 8, colourType: 0, values }),
    );
  }
  const args = ["train", dataset, "--out", out, "--no-evaluate", "--segmentation", segmentation, ...tinyArguments];
  const { code, stderr } = await mpn([...args, "--set", "epochs=1"]);
  assert.is(code, 0, stderr);
  assert.match(stderr, "12 by a segmentation alone");
  assert.is(parseYaml(readFileSync(join(out, "config.yaml"), "utf8")).segmentation, segmentation);
});

test("train and ablate are told the label set as prior is", async () => {
  const parsing = ["--parsing", join(folder, "maps of legs"), "--labels", "pascal"];
  mkdirSync(parsing[1]);
  // Head and lower legs of Pascal-Person-Part; in LIP they would be hat and upper clothes, of nobody with legs.
  const values = Array.from({ length: 20 * 50 }, (_, i) => (i < 400 ? 1 : 6));
  const png = encodePng({ width: 20, height: 50, depth: 4, colourType: 3, values });
  for (const name of readdirSync(join(dataset, "bounding_box_train")))
    writeFileSync(join(parsing[1], `${parse(name).name}.png`), png);
  const out = join(folder, "labelled");
  const few = [...tinyArguments, "--set", "epochs=1"];
  const trained = await mpn(["train", dataset, "--out", out, "--no-evaluate", ...parsing, ...few]);
  assert.is(trained.code, 0, trained.stderr);
  assert.match(trained.stderr, "coarse priors: 12 reliable");
  assert.is(parseYaml(readFileSync(join(out, "config.yaml"), "utf8")).labels, "pascal");
  const table = join(folder, "table");
  const one = ["--data", dataset, "--out", table, "--variants", "mpn", "--tables", "1", "--seeds", "1"];
  const ablated = await mpn(["ablate", ...one, ...parsing, ...few]);
  assert.is(ablated.code, 0, ablated.stderr);
  assert.match(ablated.stderr, "coarse priors: 12 reliable");
});

test("with --perturb and perturbSeed it makes the very priors that train then takes", async () => {
  const segmentation = ["--segmentation", join(folder, "masks")];
  const errors = ["--perturb", "0.5", "--set", "perturbSeed=3"];
  const straight = await json("prior", dataset, ...segmentation, ...tinyArguments);
  const made = await json("prior", dataset, ...segmentation, ...tinyArguments, ...errors);
  assert.equal([made.perturb, made.perturbSeed, made.segmentationOnly], [0.5, 3, 12]);
  assert.equal([straight.perturb, straight.rows], [0, 3]);
  const coverage = async (file: string) => (await readSafetensors(file)).tensors.get("coverage")!.data;
  assert.not.equal(await coverage(made.file), await coverage(straight.file));
  const written = statSync(made.file).mtimeMs;
  const files = readdirSync(dataset);
  const out = join(folder, "perturbed");
  const args = ["train", dataset, "--out", out, "--no-evaluate", ...segmentation, ...tinyArguments, ...errors];
  const { code, stderr } = await mpn([...args, "--set", "epochs=1"]);
  assert.is(code, 0, stderr);
  // Priors that did not fit would have been made anew.
  assert.is(statSync(made.file).mtimeMs, written);
  assert.equal(readdirSync(dataset), files);
});

test.run();
