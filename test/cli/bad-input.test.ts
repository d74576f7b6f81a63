/** Bad input: a clear error that names the file or value, exit code 1 or 2, never a stack trace, nothing lost. */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
let runs = 0;
const newRun = () => join(folder, `run-${runs++}`);
const train = (root: string, ...more: string[]) =>
  mpn(["train", root, "--out", newRun(), "--no-evaluate", ...tinyArguments, ...more]);

async function refused(outcome: ReturnType<typeof mpn>, expected: RegExp, code = 1): Promise<void> {
  const { code: actual, stdout, stderr } = await outcome;
  const said = stdout + stderr;
  assert.match(said, expected);
  assert.not.match(said, /^\s+at .*:\d+:\d+\)?$/m);
  assert.is(actual, code, said);
}

test.before(() => writeTinyDataset(dataset));

test("a missing and an empty folder", async () => {
  await refused(train(join(folder, "nowhere")), /nowhere/);
  const empty = join(folder, "empty");
  mkdirSync(join(empty, "bounding_box_train"), { recursive: true });
  await refused(train(empty), /bounding_box_train/);
  await refused(mpn(["evaluate", dataset, "--weights", join(folder, "none.safetensors")]), /none\.safetensors/);
  await refused(mpn(["extract", join(folder, "empty")]), /holds no image/);
  await refused(mpn(["extract", join(folder, "nothing.jpg")]), /nothing\.jpg/);
});

test("a truncated JPEG is skipped at training with a warning, and counted", async () => {
  const damaged = join(folder, "damaged");
  await writeTinyDataset(damaged);
  const images = join(damaged, "bounding_box_train");
  const victim = join(images, readdirSync(images)[0]);
  writeFileSync(victim, readFileSync(victim).subarray(0, 200));
  const { code, stderr } = await train(damaged);
  assert.is(code, 0, stderr);
  assert.match(stderr, victim);
  assert.match(stderr, "1 images could not be read and were skipped");
});

test("a query picture that every evaluation meets is one image, and warned of once", async () => {
  const damaged = join(folder, "damaged-query");
  await writeTinyDataset(damaged);
  const [name] = readdirSync(join(damaged, "query"));
  writeFileSync(join(damaged, "query", name), "no picture");
  const args = ["train", damaged, "--out", newRun(), ...tinyArguments, "--set", "evaluateEvery=1", "--json"];
  const { code, stdout, stderr } = await mpn(args);
  assert.is(code, 0, stderr);
  assert.is(JSON.parse(stdout).skippedImages, 1);
  assert.is(stderr.split(name).length - 1, 1, stderr);
});

test("a name without identity", async () => {
  const named = join(folder, "named");
  await writeTinyDataset(named);
  const images = join(named, "bounding_box_train");
  copyFileSync(join(images, readdirSync(images)[0]), join(images, "holiday.jpg"));
  await refused(train(named), /holiday\.jpg/);
});

test("query and gallery by one camera: nothing to measure, which is told before anything is trained or extracted", async () => {
  const one = join(folder, "one-camera");
  await writeTinyDataset(one);
  const gallery = join(one, "bounding_box_test");
  for (const image of readdirSync(gallery))
    renameSync(join(gallery, image), join(gallery, image.replace("_c2", "_c1")));
  const reason =
    /one-camera: no query has a right answer.*Of 2 queries 2 have their person in the gallery at all, 2 of them/;
  const out = newRun();
  const asked = ["train", one, "--out", out, ...tinyArguments];
  const before = [
    mpn(["evaluate", one]),
    mpn(["evaluate", dataset, one]),
    mpn(asked),
    mpn(["train", dataset, "--out", out, ...tinyArguments, "--test", one]),
    mpn(["ablate", "--data", one, "--out", out, "--tables", "1", "--variants", "mpn", ...tinyArguments.slice(4)]),
  ];
  for (const outcome of before) {
    await refused(outcome, reason);
    assert.not.match((await outcome).stderr, "adapter:");
  }
  assert.match((await mpn(asked)).stderr, "--no-evaluate trains without evaluating");
  assert.not.ok(existsSync(out));
  assert.is((await train(one, "--set", "epochs=1")).code, 0);
});

test("fewer people than S", async () => {
  await refused(train(dataset, "--set", "subjects=5"), /5/);
});

test("a part count that does not divide the feature rows", async () => {
  await refused(train(dataset, "--set", "parts=2"), /parts 2 does not divide the 3 rows/, 2);
});

test("unknown settings and wrong values are refused by name", async () => {
  await refused(train(dataset, "--set", "learningrate=1"), /unknown key "learningrate"/, 2);
  await refused(train(dataset, "--set", "margins=1"), /the nearest known one is "margin"/, 2);
  await refused(train(dataset, "--set", "lr=fast"), /lr is "fast"/, 2);
  await refused(train(dataset, "--preset", "smal"), /smal/, 2);
});

test("a checkpoint of another configuration, and one that is damaged", async () => {
  const out = newRun();
  const done = await mpn(["train", dataset, "--out", out, "--no-evaluate", ...tinyArguments, "--set", "epochs=1"]);
  assert.is(done.code, 0, done.stderr);
  const checkpoint = join(out, "checkpoint.safetensors");
  await refused(
    train(dataset, "--init", checkpoint, "--set", "width=6"),
    /checkpoint\.safetensors: no layer of the backbone fits this network; its width is/,
  );
  const truncated = join(folder, "truncated.safetensors");
  writeFileSync(truncated, readFileSync(checkpoint).subarray(0, 5000));
  await refused(mpn(["evaluate", dataset, "--weights", truncated]), /truncated\.safetensors/);
  await refused(mpn(["verify", truncated]), /truncated\.safetensors/);
  const foreign = join(import.meta.dirname, "../fixtures/metrics.safetensors");
  await refused(mpn(["evaluate", dataset, "--weights", foreign]), /no checkpoint of mpn-webgpu/);
});

test("a tensor above the adapter's limits", async () => {
  await refused(
    train(dataset, "--set", "imageSize=[12288, 8192]", "--set", "subjects=3", "--set", "imagesPerSubject=32"),
    /MiB.*binds at most/s,
  );
});

test("no adapter", async () => {
  const before = { ...process.env };
  Object.assign(process.env, {
    VK_DRIVER_FILES: "/nonexistent.json",
    VK_ICD_FILENAMES: "/nonexistent.json",
    XDG_CACHE_HOME: folder,
  });
  try {
    if (process.platform === "linux") await refused(train(dataset), /No WebGPU adapter was found/);
  } finally {
    for (const key of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "XDG_CACHE_HOME"]) delete process.env[key];
    Object.assign(process.env, before);
  }
});

test("an output folder that cannot be made", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  await refused(
    mpn(["train", dataset, "--out", join(file, "run"), "--no-evaluate", ...tinyArguments]),
    /a part of the path is a file/,
  );
});

test("a full disk in the middle of training keeps the last checkpoint", async () => {
  const out = newRun();
  mkdirSync(out);
  try {
    // Room for one checkpoint of this network (0.33 MB) and the small files, not for two.
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=480k", "tmpfs", out], { stdio: "ignore" });
  } catch {
    return; // Only root may mount; test/formats covers the write itself for everybody.
  }
  try {
    const command = ["train", dataset, "--out", out, "--no-evaluate", ...tinyArguments];
    const first = await mpn([...command, "--set", "epochs=1"]);
    assert.is(first.code, 0, first.stderr);
    const before = readFileSync(join(out, "checkpoint.safetensors"));
    await refused(mpn([...command, "--resume"]), /checkpoint\.safetensors.*disk is full/);
    assert.ok(before.equals(readFileSync(join(out, "checkpoint.safetensors"))));
    assert.not.ok(readdirSync(out).some((name) => name.includes(".tmp")));
  } finally {
    execFileSync("umount", [out]);
  }
});

test("wrong usage ends with 2", async () => {
  await refused(mpn(["train", "--out", newRun()]), /missing required argument/, 2);
  await refused(mpn(["tarin", dataset]), /train/, 2);
});

test.run();
