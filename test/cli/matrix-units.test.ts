/** Training on matrix units, by the command line: what is kept of it, and on what a run goes on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readCheckpoint } from "#src/training/checkpoint.js";
import { mpn } from "../support/mpn.js";
import { sameBits } from "../support/op.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
await writeTinyDataset(dataset);

const train = (out: string, ...more: string[]) =>
  mpn(["train", dataset, "--out", join(folder, out), "--no-evaluate", "--json", ...tinyArguments, ...more]);

const checkpointOf = (out: string) => readCheckpoint(join(folder, out, "checkpoint.safetensors"));

/** Whether the two runs reached the same bits. */
async function same(one: string, other: string): Promise<boolean> {
  const [a, b] = [await checkpointOf(one), await checkpointOf(other)];
  return [...a.weights].every(([name, { data }]) => sameBits(data, b.weights.get(name)!.data));
}

test("a run keeps that it was asked to use matrix units, and goes on so without being asked again", async () => {
  const whole = await train("whole", "--matrix-units");
  assert.is(whole.code, 0, whole.stderr);
  const { matrixUnits } = JSON.parse(whole.stdout);
  const warning = /warning: --matrix-units: .* has none that the kernels can use; nothing changes/;
  const told = (stderr: string) => assert.is(warning.test(stderr), matrixUnits === null, stderr);
  told(whole.stderr);
  assert.match(readFileSync(join(folder, "whole", "config.yaml"), "utf8"), /^matrixUnits: true$/m);
  const { config, lossScale } = await checkpointOf("whole");
  assert.is(config.matrixUnits, true);
  assert.is(
    lossScale !== undefined,
    matrixUnits?.components === "f16",
    "gradients of halves are those of a scaled loss",
  );

  assert.is((await train("stopped", "--matrix-units", "--set", "epochs=1")).code, 0);
  const resumed = await train("stopped", "--resume");
  assert.is(resumed.code, 0, resumed.stderr);
  told(resumed.stderr);
  assert.ok(await same("stopped", "whole"));

  const plain = await train("plain");
  assert.is(plain.code, 0, plain.stderr);
  assert.is(JSON.parse(plain.stdout).matrixUnits, null);
  assert.not.match(plain.stderr, /matrix-units/);
  assert.is(await same("plain", "whole"), matrixUnits === null);
});

test("a run that began without matrix units is not resumed with them, nor the other way round", async () => {
  const begun = await train("plain", "--resume", "--matrix-units");
  assert.is(begun.code, 1);
  assert.match(begun.stderr, /matrixUnits is true, the checkpoint has false/);
  const without = await train("whole", "--resume", "--set", "matrixUnits=false");
  assert.is(without.code, 1);
  assert.match(without.stderr, /matrixUnits is false, the checkpoint has true/);
});

test.run();
