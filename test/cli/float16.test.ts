import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readCheckpoint } from "#src/training/checkpoint.js";
import { mpn } from "../support/mpn.js";
import { sameBits } from "../support/op.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

test("a run in float16 that is stopped and resumed reaches the same weights and loss scale", async () => {
  const folder = temporaryFolder();
  const dataset = join(folder, "dataset");
  await writeTinyDataset(dataset);
  const train = async (out: string, ...more: string[]) => {
    const args = [
      "train",
      dataset,
      "--out",
      out,
      "--no-evaluate",
      ...tinyArguments,
      "--set",
      "precision=float16",
      ...more,
    ];
    const { code, stderr } = await mpn(args);
    assert.is(code, 0, stderr);
  };
  const [whole, stopped] = [join(folder, "whole"), join(folder, "stopped")];
  await train(whole);
  await train(stopped, "--set", "epochs=1");
  await train(stopped, "--resume");
  const [a, b] = await Promise.all([whole, stopped].map((out) => readCheckpoint(join(out, "checkpoint.safetensors"))));
  for (const part of ["weights", "momenta"] as const) {
    for (const [name, { data }] of a[part]) assert.ok(sameBits(data, b[part].get(name)!.data), name);
  }
  assert.equal(a.lossScale, b.lossScale);
  const rows = (out: string) =>
    readFileSync(join(out, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  const scales = (out: string) => rows(out).map(({ lossScale, skipped, loss }) => [lossScale, skipped, loss.total]);
  assert.equal(scales(stopped), scales(whole));
  assert.ok(a.lossScale && a.lossScale[1] + a.lossScale[2] >= 6, `six steps leave the state ${a.lossScale}`);
});

test("verify and bench take the precision, and say it", async () => {
  const fixture = join(import.meta.dirname, "../fixtures/mt-only.safetensors");
  const { code, stdout, stderr } = await mpn(["verify", fixture, "--precision", "float16", "--json"]);
  assert.is(code, 0, stderr);
  const verified = JSON.parse(stdout);
  assert.is(verified.precision, "float16");
  // Beyond what float32 is allowed, and well within what float16 is.
  const { errors } = verified.fixtures[0];
  assert.ok(errors.features > 1e-5 && errors.features < 1e-2, `features are off by ${errors.features}`);
  const wrong = await mpn(["verify", fixture, "--precision", "float8"]);
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /float32, float16/);
  const size = ["--preset", "small", "--size", "96x32", "--batch", "2", "--runs", "1"];
  const bench = await mpn(["bench", "model", ...size, "--mode", "train", "--precision", "float16", "--json"]);
  assert.is(bench.code, 0, bench.stderr);
  assert.is(JSON.parse(bench.stdout).cases[0].precision, "float16");
});

test.run();
