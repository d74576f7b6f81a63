import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const whole = join(folder, "whole");
const train = (out: string, ...more: string[]) =>
  mpn(["train", dataset, "--out", out, "--no-evaluate", ...tinyArguments, ...more]);
const checkpoint = (out: string) => readFileSync(join(out, "checkpoint.safetensors"));
const rows = (out: string) =>
  readFileSync(join(out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

/** Weights, momenta and state; the configuration differs in how long the run is. */
function tensorBytes(file: Buffer): Buffer {
  return file.subarray(8 + Number(file.readBigUInt64LE(0)));
}

test.before(async () => {
  await writeTinyDataset(dataset);
  const { code, stderr } = await train(whole);
  assert.is(code, 0, stderr);
});

test("a run leaves checkpoint, metrics, configuration and report", () => {
  assert.equal(readdirSync(whole).sort(), ["checkpoint.safetensors", "config.yaml", "metrics.jsonl", "report.html"]);
  assert.equal(
    rows(whole).map((row) => row.step),
    [1, 2, 3, 4, 5, 6],
  );
  for (const row of rows(whole)) assert.ok(Number.isFinite(row.loss.total) && row.lr > 0);
});

test("the same seed gives the same bits, another seed does not", async () => {
  const again = join(folder, "again");
  const other = join(folder, "other");
  await train(again);
  await train(other, "--set", "seed=1");
  assert.ok(tensorBytes(checkpoint(whole)).equals(tensorBytes(checkpoint(again))));
  assert.not(tensorBytes(checkpoint(whole)).equals(tensorBytes(checkpoint(other))));
});

test("a run that is stopped and resumed reaches the same weights", async () => {
  const out = join(folder, "stopped");
  assert.is((await train(out, "--set", "epochs=1")).code, 0);
  // As a kill amid a save leaves it.
  const { pid } = spawnSync(process.execPath, ["--version"]);
  writeFileSync(join(out, `checkpoint.safetensors.tmp-${pid}`), "half a checkpoint");
  const resumed = await train(out, "--resume");
  assert.is(resumed.code, 0, resumed.stderr);
  assert.equal(readdirSync(out).sort(), readdirSync(whole).sort());
  assert.ok(tensorBytes(checkpoint(whole)).equals(tensorBytes(checkpoint(out))));
  assert.equal(
    rows(out).map((row) => row.loss.total),
    rows(whole).map((row) => row.loss.total),
  );
});

test("also after kill -9 in the middle of an epoch", async () => {
  const out = join(folder, "killed");
  // Long epochs, killed as soon as there is a checkpoint and the next epoch has begun.
  const long = ["--set", "epochs=400"];
  await mpn(["train", dataset, "--out", out, "--no-evaluate", ...tinyArguments, ...long], (child) => {
    const timer = setInterval(() => {
      const metrics = join(out, "metrics.jsonl");
      if (!existsSync(join(out, "checkpoint.safetensors")) || !existsSync(metrics) || statSync(metrics).size < 2000)
        return;
      clearInterval(timer);
      child.kill("SIGKILL");
    }, 5);
    timer.unref();
  });
  const done = rows(out).at(-1).step;
  assert.ok(done < 800, "it was killed before the end");
  const epochs = Math.ceil(done / 2) + 1;
  const resumed = await train(out, "--resume", "--set", `epochs=${epochs}`);
  assert.is(resumed.code, 0, resumed.stderr);
  const straight = join(folder, "straight");
  await train(straight, "--set", `epochs=${epochs}`);
  assert.ok(tensorBytes(checkpoint(straight)).equals(tensorBytes(checkpoint(out))));
  assert.equal(
    rows(out).map((row) => row.step),
    Array.from({ length: 2 * epochs }, (_, i) => i + 1),
  );
});

test("Ctrl-C saves and ends with 130", async () => {
  const out = join(folder, "interrupted");
  let sent = false;
  const { code, stderr } = await mpn(
    ["train", dataset, "--out", out, "--no-evaluate", ...tinyArguments, "--set", "epochs=4000"],
    (child, text) => {
      if (sent || !text.includes("training")) return;
      sent = true;
      child.kill("SIGINT");
    },
  );
  assert.is(code, 130, stderr);
  assert.ok(existsSync(join(out, "checkpoint.safetensors")));
  assert.is(rows(out).length > 0, true);
});

test("resuming with other settings, or with nothing there, is refused and nothing is lost", async () => {
  const before = checkpoint(whole);
  const other = await train(whole, "--resume", "--set", "width=8");
  assert.is(other.code, 1);
  assert.match(other.stderr, "width is 8, the checkpoint has 4");
  const none = await train(join(folder, "none"), "--resume");
  assert.is(none.code, 1);
  assert.match(none.stderr, "Nothing to resume");
  const again = await train(whole);
  assert.is(again.code, 1);
  assert.match(again.stderr, "already holds a trained network");
  assert.ok(before.equals(checkpoint(whole)));
});

test("a loss that is not finite stops the run, names the step and keeps the last good checkpoint", async () => {
  const out = join(folder, "diverged");
  await train(out, "--set", "epochs=1");
  const before = checkpoint(out);
  const { code, stderr } = await train(
    join(folder, "exploded"),
    "--init",
    join(out, "checkpoint.safetensors"),
    "--set",
    "lr=1e30",
  );
  assert.is(code, 1);
  assert.match(stderr, /Step \d+: .* is not finite/);
  assert.not.match(stderr, /^\s+at /m);
  assert.not.ok(existsSync(join(folder, "exploded", "checkpoint.safetensors")));
  assert.ok(before.equals(checkpoint(out)));
});

test.run();
