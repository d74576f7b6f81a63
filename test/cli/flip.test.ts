/** `--flip` and `--no-flip`: without either, a network represents images as its training's own evaluations did. */
import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const picture = join(folder, "sides.png");
const run = join(folder, "run");
const weights = join(run, "checkpoint.safetensors");

test.before(async () => {
  await writeTinyDataset(dataset);
  // Unlike its mirror image.
  const left = await sharp({ create: { width: 8, height: 48, channels: 3, background: "#e02010" } })
    .png()
    .toBuffer();
  await sharp({ create: { width: 16, height: 48, channels: 3, background: "#1030d0" } })
    .composite([{ input: left, left: 0, top: 0 }])
    .toFile(picture);
  const settings = [...tinyArguments, "--set", "epochs=1", "--set", "flipTest=false"];
  const { code, stderr } = await mpn(["train", dataset, "--out", run, "--no-evaluate", ...settings]);
  assert.is(code, 0, stderr);
});

test("extract takes the checkpoint's flipTest, unless told otherwise", async () => {
  const extracted = async (...options: string[]) => {
    const out = join(folder, "features.safetensors");
    const { code, stderr } = await mpn(["extract", picture, "--weights", weights, "--out", out, ...options]);
    assert.is(code, 0, stderr);
    const { tensors, metadata } = await readSafetensors(out);
    return { stderr, flip: metadata.flip, features: Array.from(tensors.get("features")!.data as Float32Array) };
  };
  const [own, without, averaged] = [await extracted(), await extracted("--no-flip"), await extracted("--flip")];
  assert.equal([own.flip, without.flip, averaged.flip], ["false", "false", "true"]);
  assert.equal(own.features, without.features);
  const difference = Math.max(...own.features.map((value, i) => Math.abs(value - averaged.features[i])));
  assert.ok(difference > 1e-4, `${difference}`);
  assert.match(own.stderr, "Mirror images are left out, as the network's flipTest is false.");
  assert.match(averaged.stderr, "Mirror images are averaged in, while the network's flipTest is false.");
});

test("evaluate does so too", async () => {
  for (const [options, flip] of [
    [["--weights", weights], false],
    [["--weights", weights, "--flip"], true],
    [[], true],
    [["--no-flip"], false],
  ] as const) {
    const { code, stdout, stderr } = await mpn(["evaluate", dataset, ...options, "--json"]);
    assert.is(code, 0, stderr);
    assert.is(JSON.parse(stdout).flip, flip);
  }
});

test.run();
