/** `--perturb`: training, its own evaluation, resuming and `mpn evaluate` see the same detector errors. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const out = join(folder, "run");
const checkpoint = join(out, "checkpoint.safetensors");

async function json(...args: string[]) {
  const { code, stdout, stderr } = await mpn([...args, "--json"]);
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Noise all over, so that each place of a picture looks like no other. */
async function scramble(path: string, seed: number): Promise<void> {
  const data = Buffer.from(
    Uint8Array.from({ length: 20 * 50 * 3 }, (_, i) => (i * (37 + 2 * seed) + (i >> 4) * 91) % 256),
  );
  await sharp(data, { raw: { width: 20, height: 50, channels: 3 } })
    .jpeg({ quality: 95 })
    .toFile(path);
}

test.before(async () => {
  await writeTinyDataset(dataset);
  for (const [seed, name] of ["0004_c2s1_000001_00", "0004_c2s1_000002_00", "0005_c2s1_000001_00"].entries()) {
    await scramble(join(dataset, "bounding_box_test", `${name}.jpg`), seed);
  }
});

test("train --perturb evaluates with the errors it trains with, and evaluate --perturb gives the same", async () => {
  const trained = await json(
    "train",
    dataset,
    "--out",
    out,
    ...tinyArguments,
    "--set",
    "lr=0.001",
    "--perturb",
    "--set",
    "epochs=1",
  );
  assert.match(readFileSync(join(out, "config.yaml"), "utf8"), /^perturb: 1$/m);
  const same = await json("evaluate", dataset, "--weights", checkpoint, "--perturb");
  for (const key of ["rank1", "mAP", "mAPTrapezoid"]) assert.is(same[key], trained.after[key]);
  assert.is(same.perturb, 1);
  const plain = await mpn(["evaluate", dataset, "--weights", checkpoint]);
  assert.match(plain.stderr, "trained with detector errors of amount 1 added, and is evaluated with 0");
});

test("a resumed run keeps the errors, and other ones are refused", async () => {
  const command = ["train", dataset, "--out", out, "--no-evaluate", "--resume"];
  const refused = await mpn([...command, ...tinyArguments, "--set", "lr=0.001", "--perturb", "0.5"]);
  assert.is(refused.code, 1);
  assert.match(refused.stderr, "perturb is 0.5, the checkpoint has 1");
  assert.is((await json(...command, "--set", "epochs=2")).steps, 4);
});

test("features of perturbed pictures differ, and --perturb 0 changes nothing", async () => {
  const features = async (...more: string[]) => {
    const page = join(folder, "page.html");
    await json("evaluate", dataset, "--weights", checkpoint, "--report", page, ...more);
    return readFileSync(page, "utf8").match(/\d\.\d{3}<\/li>/g);
  };
  const plain = await features();
  assert.equal(await features("--perturb", "0"), plain);
  assert.not.equal(await features("--perturb"), plain);
});

test("explain --perturb shows what the network sees with the errors", async () => {
  const picture = join(dataset, "bounding_box_test", "0004_c2s1_000001_00.jpg");
  const explained = async (name: string, ...more: string[]) => {
    const args = ["explain", picture, "--weights", checkpoint, "--out", join(folder, name), ...more, "--json"];
    const { code, stdout, stderr } = await mpn(args);
    assert.is(code, 0, stderr);
    const [{ png, models }] = JSON.parse(stdout).images;
    return { png: readFileSync(png), probability: models[0].classifiers[0].probability, stderr };
  };
  const [plain, none, heavy, listed] = [
    await explained("plain"),
    await explained("none", "--perturb", "0"),
    await explained("heavy", "--perturb"),
    await explained("listed", "--perturb", "--data", dataset),
  ];
  // Without its dataset a picture's place in it is not known.
  assert.match(heavy.stderr, "1 of 1 pictures are in no dataset named with --data");
  assert.not.match(plain.stderr + listed.stderr, "--data");
  assert.ok(![plain, heavy].some(({ png }) => png.equals(listed.png)));
  assert.ok(none.png.equals(plain.png) && !heavy.png.equals(plain.png));
  assert.is(none.probability, plain.probability);
  assert.is.not(heavy.probability, plain.probability);
});

test("an amount out of range is wrong usage", async () => {
  const { code, stderr } = await mpn(["evaluate", dataset, "--weights", checkpoint, "--perturb", "3"]);
  assert.is(code, 2);
  assert.match(stderr, "from 0 to 2");
});

test.run();
