/** The peers through the commands: train, resume, start from IDE, evaluate, extract. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { mpn } from "../support/mpn.js";
import { TINY_SETTINGS, temporaryFolder, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const checkpointOf = (name: string) => join(folder, name, "checkpoint.safetensors");

/** A run of two epochs of two steps, of what the model takes of the tiny settings; six rows are three times two. */
function train(name: string, model: string, ...more: string[]) {
  const common = TINY_SETTINGS.filter((setting) => model !== "ide" || !setting.startsWith("parts="));
  const settings = [...common, "imageSize=[96,16]", "epochs=2"].flatMap((setting) => ["--set", setting]);
  const out = join(folder, name);
  return mpn(["train", dataset, "--out", out, "--no-evaluate", "--model", model, ...settings, ...more]);
}

async function json(outcome: ReturnType<typeof mpn>) {
  const { code, stdout, stderr } = await outcome;
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

const tensorBytes = (path: string) => {
  const file = readFileSync(path);
  return file.subarray(8 + Number(file.readBigUInt64LE(0)));
};

test.before(async () => {
  await writeTinyDataset(dataset);
  await json(train("ide", "ide", "--json"));
});

for (const { model, regions } of [
  { model: "pcb", regions: 3 },
  { model: "mgn", regions: 8 },
  { model: "pyramid", regions: 6 },
]) {
  test(`${model} starts from IDE's backbone`, async () => {
    const { steps, init } = await json(train(model, model, "--init", checkpointOf("ide"), "--json"));
    assert.is(steps, 4);
    assert.ok(init.loaded.every((name: string) => /^(backbone|branches)\./.test(name)));
    assert.ok(init.missing.every((name: string) => name.startsWith("parts.")));
    assert.is(
      init.missing.length,
      regions * (model === "mgn" ? 7 : 8),
      "convolution, batch norm, classifier of a part",
    );
    assert.ok(["classifier.weight", "embedding.weight"].every((name) => init.skipped.includes(name)));
    assert.is(init.skipped.filter((name: string) => name.startsWith("backbone.")).length, 0);
  });
}

test("a run with dropout that is stopped and resumed reaches the same weights", async () => {
  const init = ["--init", checkpointOf("ide")];
  assert.is((await train("stopped", "pyramid", ...init, "--set", "epochs=1")).code, 0);
  assert.is((await json(train("stopped", "pyramid", "--resume", "--json"))).steps, 4);
  assert.ok(tensorBytes(checkpointOf("pyramid")).equals(tensorBytes(checkpointOf("stopped"))));
});

test("weights without classifiers are evaluated and represent images", async () => {
  const weights = join(folder, "mgn.safetensors");
  await json(mpn(["convert", checkpointOf("mgn"), "--out", weights, "--json"]));
  const { tensors } = await readSafetensors(weights);
  assert.not.ok([...tensors.keys()].some((name) => name.includes("classifier")));
  assert.is((await json(mpn(["evaluate", dataset, "--weights", weights, "--json"]))).queries, 2);
  const out = ["--out", join(folder, "features.safetensors"), "--json"];
  for (const { model, dim } of [
    { model: "ide", dim: 8 },
    { model: "pyramid", dim: 6 * 8 },
  ]) {
    assert.is(
      (await json(mpn(["extract", join(dataset, "query"), "--weights", checkpointOf(model), ...out]))).dim,
      dim,
    );
  }
});

test("MPN starts from IDE's backbone, and says with what", async () => {
  const { code, stderr } = await train("mpn", "mpn", "--init", checkpointOf("ide"));
  assert.is(code, 0, stderr);
  // Stem, four blocks with a shortcut: 5 + 4 * 20 tensors. Six layers of a part and two classifiers, three times.
  assert.match(stderr, /started from .*ide.*: 85 tensors loaded/);
  assert.match(stderr, /skipped classifiers: 2 \(classifier\.weight, classifier\.bias\)/);
  assert.match(stderr, /skipped, not in this network: 6 \(embedding\.weight, embedding\.bias, bn\.weight, \.\.\.\)/);
  assert.match(stderr, /missing, with initial values: 84 \(parts\.0/);
});

test("the same model on the same people keeps its classifiers", async () => {
  const { init } = await json(train("again", "ide", "--init", checkpointOf("ide"), "--json"));
  assert.equal([init.skipped, init.missing], [[], []]);
});

test("a backbone of another width, and a model that cannot be trained, are refused", async () => {
  const wide = await train("wide", "mpn", "--init", checkpointOf("ide"), "--set", "width=8");
  assert.is(wide.code, 1);
  assert.match(wide.stderr, /no layer of the backbone fits this network; its width is 4/);
  const dsa = await mpn(["train", dataset, "--out", join(folder, "dsa"), "--model", "dsa"]);
  assert.is(dsa.code, 2);
  assert.match(dsa.stderr, /unpublished/);
  assert.not.ok(existsSync(join(folder, "dsa")));
  const unknown = await mpn(["train", dataset, "--out", join(folder, "x"), "--model", "pcp"]);
  assert.is(unknown.code, 2);
  assert.match(unknown.stderr, /model is "pcp"; expected one of "mpn", "ide", "pcb"/);
});

test.run();
