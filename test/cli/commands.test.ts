/** The commands as scripts use them: `--json` prints one object on stdout, with the fields that are relied on. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { borderNote } from "#src/cli/verify.js";
import { readSafetensors, writeSafetensors } from "#src/formats/safetensors.js";
import { readTorch } from "#src/formats/torch.js";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const out = join(folder, "run");
const checkpoint = join(out, "checkpoint.safetensors");
let plainMAP: number;

async function json(...args: string[]) {
  const { code, stdout, stderr } = await mpn([...args, "--json"]);
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

test.before(async () => {
  await writeTinyDataset(dataset);
});

test("train evaluates before and after, and writes a report", async () => {
  const result = await json("train", dataset, "--out", out, ...tinyArguments, "--set", "evaluateEvery=1");
  assert.is(result.steps, 6);
  const rows = readFileSync(join(out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.equal(
    rows.filter((row) => row.evaluation).map((row) => row.step),
    [2, 4],
  );
  for (const moment of ["before", "after"]) assert.is(result[moment].queries, 2);
  const page = readFileSync(result.report, "utf8");
  assert.match(page, "before training");
  assert.match(page, "0004_c1s1_000000_00.jpg");
  // Those after epochs 1 and 2, and the one after the last.
  assert.match(page, /"title":"Rank-1 and mAP over epochs","xLabel":"epoch","unit":"percent","x":\[1,2,3\]/);
});

test("evaluate --report shows as many queries as asked for, the worst first", async () => {
  const page = join(folder, "page.html");
  const shown = async (...options: string[]) => {
    await json("evaluate", dataset, "--weights", checkpoint, "--report", page, ...options);
    const text = readFileSync(page, "utf8");
    const precisions = [...text.matchAll(/average precision ([\d.]+) %/g)].map((match) => Number(match[1]));
    return { lists: text.split('class="card ranked"').length - 1, precisions };
  };
  assert.equal(await shown().then(({ lists, precisions }) => [lists, precisions.length]), [2, 0]);
  assert.is((await shown("--queries", "1")).lists, 1);
  const { lists, precisions } = await shown("--worst", "--queries", "9");
  assert.is(lists, 2);
  assert.ok(precisions[0] <= precisions[1], precisions.join());
  for (const option of [["--worst"], ["--queries", "3"]]) {
    const { code, stderr } = await mpn(["evaluate", dataset, ...option]);
    assert.is(code, 2);
    assert.match(stderr, `${option[0]} says which ranked lists a page shows: name one with --report.`);
  }
});

test("a finished run that is resumed evaluates its weights once", async () => {
  const { steps, before, after } = await json("train", dataset, "--out", out, "--resume");
  assert.equal([steps, before, after.queries], [6, undefined, 2]);
});

test("evaluate gives what training gave, for every dataset named", async () => {
  const one = await json("evaluate", dataset, "--weights", checkpoint);
  for (const field of ["rank1", "rank5", "rank10", "rank20", "mAP", "mAPTrapezoid"]) {
    assert.ok(one[field] >= 0 && one[field] <= 1, field);
  }
  assert.is(one.queries, 2);
  assert.not.ok("rerank" in one);
  plainMAP = one.mAP;
  assert.is(one.skipped, 0);
  const two = await json("evaluate", dataset, dataset, "--weights", checkpoint);
  assert.equal(
    two.datasets.map((d: { mAP: number }) => d.mAP),
    [one.mAP, one.mAP],
  );
});

test("evaluate re-ranks beside the plain ranking, with the parameters asked for", async () => {
  const both = await json("evaluate", dataset, "--weights", checkpoint, "--rerank", "--rerank-k1", "3");
  assert.is(both.mAP, plainMAP);
  const { k1, k2, lambda, mAP, queries } = both.rerank;
  assert.equal([k1, k2, lambda, queries], [3, 6, 0.3, 2]);
  assert.ok(mAP > 0 && mAP <= 1);
  assert.is((await mpn(["evaluate", dataset, "--rerank-lambda", "2"])).code, 2);
});

test("convert carries the published code's weights here and back", async () => {
  const theirs = join(import.meta.dirname, "../formats/torch/official.pth");
  const [ours, back] = [join(folder, "official.safetensors"), join(folder, "official.pth")];
  const { tensors, config } = await json("convert", theirs, "--out", ours, "--set", "imageSize=[48,16]");
  assert.equal([config.preset, config.parts, config.testInterpolation], ["official", 3, "bicubic"]);
  await json("convert", ours, "--out", back, "--names", "official");
  const [original, returned] = [await readTorch(theirs), await readTorch(back)];
  assert.is(returned.size, tensors);
  for (const [name, tensor] of returned) assert.equal(tensor, original.get(name), name);
  // What is for evaluation has no classifiers, which the published code would look for; the file of torch itself has.
  const again = ["--names", "official", "--out", back];
  assert.match(
    (await mpn(["convert", ours, ...again])).stdout,
    /official\.safetensors lacks classifiers.*strict=False/,
  );
  const { stdout } = await mpn(["convert", theirs, "--set", "imageSize=[48,16]", ...again]);
  assert.not.match(stdout, "strict=False");
  const counters = [...original.keys()].filter((name) => name.endsWith("num_batches_tracked"));
  const whole = await readTorch(back);
  assert.is(whole.size, original.size - counters.length);
  for (const [name, tensor] of whole) assert.equal(tensor, original.get(name), name);
  assert.is((await json("evaluate", dataset, "--weights", theirs)).queries, 2);
});

test("convert carries the published IDE here and back", async () => {
  const theirs = join(import.meta.dirname, "../formats/torch/ide.pth");
  const [ours, back] = [join(folder, "ide.safetensors"), join(folder, "ide.pth")];
  const { config } = await json("convert", theirs, "--out", ours, "--set", "imageSize=[48,16]");
  assert.equal([config.model, config.preset, config.partDim], ["ide", "official", 8]);
  assert.is((await json("evaluate", dataset, "--weights", ours)).queries, 2);
  await json("convert", theirs, "--out", back, "--set", "imageSize=[48,16]", "--names", "official");
  const [original, returned] = [await readTorch(theirs), await readTorch(back)];
  for (const [name, tensor] of original)
    if (!name.endsWith("num_batches_tracked")) assert.equal(returned.get(name), tensor, name);
});

test("train starts from torch's ImageNet weights", async () => {
  const init = join(import.meta.dirname, "../formats/torch/resnet-legacy.pth");
  const settings = [...tinyArguments, "--set", "width=1", "--set", "epochs=1", "--no-evaluate"];
  const { steps } = await json("train", dataset, "--out", join(folder, "started"), "--init", init, ...settings);
  assert.is(steps, 2);
});

test("convert keeps what evaluation needs, and nothing of training", async () => {
  const weights = join(folder, "weights.safetensors");
  await json("convert", checkpoint, "--out", weights);
  const { tensors } = await readSafetensors(weights);
  assert.not.ok([...tensors.keys()].some((name) => /momentum|classifier/.test(name)));
  const [before, after] = [
    await json("evaluate", dataset, "--weights", checkpoint),
    await json("evaluate", dataset, "--weights", weights),
  ];
  assert.is(after.mAP, before.mAP);
});

test("extract writes unit vectors in the order of the names", async () => {
  const file = join(folder, "features.safetensors");
  const result = await json("extract", join(dataset, "query"), "--weights", checkpoint, "--out", file);
  const { imagesPerSecond, gpuBusySeconds, gpuIdle, decoderBusySeconds, decoderIdle, boundBy } = result.pace;
  assert.ok(Math.abs(imagesPerSecond - 2 / result.seconds) < 1e-9);
  for (const [busy, idle] of [
    [gpuBusySeconds, gpuIdle],
    [decoderBusySeconds, decoderIdle],
  ])
    assert.ok(busy > 0 && Math.abs(idle - (1 - busy / result.seconds)) < 1e-9);
  assert.is(boundBy, gpuBusySeconds >= decoderBusySeconds ? "GPU" : "decoder");
  const said = await mpn(["extract", join(dataset, "query"), "--weights", checkpoint, "--out", file]);
  assert.match(said.stdout, /\d images\/s, bound by the (GPU \(decoder|decoder \(GPU) idle \d+\.\d%\)\)/);
  const { tensors, metadata } = await readSafetensors(file);
  const features = tensors.get("features");
  assert.equal(features?.shape, [2, 24]);
  assert.is(JSON.parse(metadata.names).length, result.images);
  const values = Array.from(features?.data as Float32Array);
  for (const row of [values.slice(0, 24), values.slice(24)]) {
    assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-5);
  }
});

test("extract and evaluate work with the network that ships", async () => {
  const shipped = await json("evaluate", dataset);
  assert.match(shipped.weights, "small.safetensors");
  const file = join(folder, "shipped.safetensors");
  const result = await json("extract", join(dataset, "query"), "--out", file);
  assert.ok(existsSync(file) && result.dim > 0);
});

test("verify reports every group and fails beyond the bounds", async () => {
  const { fixtures } = await json(
    "verify",
    join(import.meta.dirname, "../fixtures/metrics.safetensors"),
    join(import.meta.dirname, "../fixtures/prior.safetensors"),
  );
  assert.equal(
    fixtures.map((f: { kind: string; pass: boolean }) => [f.kind, f.pass]),
    [
      ["metrics", true],
      ["prior", true],
    ],
  );
});

test("verify says what a failure of gradients alone may be", async () => {
  const { tensors, metadata } = await readSafetensors(join(import.meta.dirname, "../fixtures/baseline.safetensors"));
  const spoiled = async (group: string) => {
    const file = join(folder, `${group}.safetensors`);
    const wrong = new Map(tensors);
    for (const [name, t] of tensors) {
      if (name.startsWith(`expect.${group}`))
        wrong.set(name, { ...t, data: (t.data as Float32Array).map((v) => 1.01 * v) } as typeof t);
    }
    await writeSafetensors(file, wrong, metadata);
    return file;
  };
  const { code, stdout } = await mpn(["verify", await spoiled("grad"), await spoiled("eval.features"), "--json"]);
  assert.is(code, 1);
  const [gradients, features] = JSON.parse(stdout).fixtures;
  assert.not(gradients.pass || features.pass);
  assert.match(gradients.note, "a wrong gradient fails again");
  assert.is(gradients.moved.length, 8);
  // The images were moved, but by little.
  const moved = gradients.moved.map((errors: { features: number }) => errors.features);
  assert.ok(new Set(moved).size > 4 && Math.max(...moved) < 1e-5, moved.join(" "));
  assert.is(features.note, undefined);
});

test("verify tells a value next to a border from a wrong gradient", () => {
  const run = (update: number) => ({ features: 1e-7, update });
  const within = (_: string, error: number) => error <= 2e-3;
  const border = borderNote([run(3.6e-2), run(6e-5), run(7e-5)], within);
  assert.match(
    border,
    "Of 3 runs whose images were moved by one float32, 2 agree in every group (update 6.0e-5 to 3.6e-2)",
  );
  assert.match(border, "no fault shows");
  assert.match(borderNote([run(3.6e-2), run(4e-2)], within), "a gradient is wrong, or");
});

test("demo: synthetic people, training, report, in one command", async () => {
  const demo = join(folder, "demo");
  const { code, stdout, stderr } = await mpn(["demo", "--out", demo, ...tinyArguments, "--set", "epochs=1"]);
  assert.is(code, 0, stderr);
  for (const said of ["train   |", "Rank-1", "mAP (trapezoid)", "npx mpn train"]) assert.match(stdout, said);
  assert.match(stderr, "adapter:");
  assert.ok(readdirSync(demo).includes("report.html"));
  const other = await mpn(["demo", "--out", out, ...tinyArguments]);
  assert.is(other.code, 1);
  assert.match(other.stderr, "was not made by a demo");
  assert.ok(existsSync(checkpoint));
  const again = await mpn(["demo", "--out", demo, ...tinyArguments, "--set", "epochs=1"]);
  assert.is(again.code, 0, again.stderr);
});

test.run();
