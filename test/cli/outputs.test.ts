/** Outputs never cost an input, nor anybody's file or folder of another kind; over its own earlier output a command runs again. */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const run = join(folder, "run");
const checkpoint = join(run, "checkpoint.safetensors");
const own = join(folder, "own");
const notes = join(folder, "notes.txt");
const few = [...tinyArguments, "--set", "epochs=1", "--no-evaluate"];
const weights = ["--weights", checkpoint];
const commands = {
  evaluate: (out: string) => ["evaluate", dataset, ...weights, "--report", out],
  extract: (out: string) => ["extract", join(dataset, "query"), ...weights, "--out", out],
  convert: (out: string) => ["convert", checkpoint, "--out", out],
};

async function done(args: readonly string[]): Promise<void> {
  const { code, stderr } = await mpn(args);
  assert.is(code, 0, stderr);
}

/** Refused before an adapter is opened, with a file that stays as it was. */
async function refused(args: readonly string[], expected: RegExp | string, code: 1 | 2, kept?: string): Promise<void> {
  const before = kept && readFileSync(kept);
  const { stderr, ...outcome } = await mpn(args);
  assert.match(stderr, expected);
  assert.not.match(stderr, "adapter:");
  assert.is(outcome.code, code, stderr);
  if (kept && before) assert.ok(before.equals(readFileSync(kept)), `${kept} was changed`);
}

test.before(async () => {
  await writeTinyDataset(dataset);
  await done(["train", dataset, "--out", run, ...few]);
  writeFileSync(notes, "weeks of work");
});

test("an output that is an input is refused, however its path is written", async () => {
  const [link, hard] = [join(folder, "link.safetensors"), join(folder, "hard.safetensors")];
  symlinkSync(checkpoint, link);
  linkSync(checkpoint, hard);
  const { evaluate, extract, convert } = commands;
  const spellings = [join(run, "..", "run", "checkpoint.safetensors"), link, hard].map(convert);
  for (const args of [...spellings, ...[evaluate, extract, convert].map((command) => command(checkpoint))])
    await refused(args, /is .*checkpoint\.safetensors, which the command reads/, 2, checkpoint);
  await done(["train", dataset, "--out", run, "--resume", ...few]);
});

test("a file of another kind is not replaced, one of the same kind is", async () => {
  const names = {
    evaluate: ["page.html"],
    extract: ["features.safetensors"],
    convert: ["weights.safetensors", "weights.pth", "model.onnx"],
  };
  const outs = Object.entries(names).flatMap(([name, files]) =>
    files.map((file) => ({ command: commands[name as keyof typeof names], out: join(folder, file) })),
  );
  for (const { command, out } of outs) await done(command(out));
  // Another run's checkpoint, of which convert has not read its weights.
  const other = join(folder, "other", "checkpoint.safetensors");
  await done(["train", dataset, "--out", join(folder, "other"), ...few, "--set", "seed=1"]);
  const theirs = join(import.meta.dirname, "../formats/torch/official.pth");
  for (const { command, out } of outs) {
    await done(command(out));
    for (const there of [notes, other, theirs, ...outs.map((each) => each.out)])
      if (there !== out && there.slice(-4) === out.slice(-4))
        await refused(command(there), /what is there is no .* and would be lost/, 1, there);
  }
  await refused(commands.evaluate(notes), "no HTML page", 1, notes);
  await refused(commands.evaluate(other), "no HTML page", 1, other);
  await refused(commands.extract(notes), "no file of features", 1, notes);
  await refused(commands.extract(join(dataset, "query", readdirSync(join(dataset, "query"))[0])), "no file of", 1);
  const model = join(folder, "theirs.onnx");
  writeFileSync(model, "\b\x07\x12\x07pytorch");
  await refused(commands.convert(model), "no ONNX model as convert writes it", 1, model);
  // Nothing is lost with an empty file.
  writeFileSync(join(folder, "empty.html"), "");
  await done(commands.evaluate(join(folder, "empty.html")));
});

test("a folder, and one that is not there, are told before the work", async () => {
  await refused(commands.evaluate(folder), `${folder} is a folder; name a file, such as ${folder}/report.html`, 2);
  await refused(commands.extract(folder), "is a folder; name a file", 2);
  const nowhere = join(folder, "nowhere");
  await refused(commands.extract(join(nowhere, "features.safetensors")), `there is no folder ${nowhere}`, 1);
  await refused(commands.evaluate(join(notes, "page.html")), "a part of the path is a file", 1);
  // Pages make their folders.
  await done(commands.evaluate(join(nowhere, "page.html")));
});

test("ablate, train and demo take no folder that holds other things", async () => {
  mkdirSync(own);
  for (const [name, text] of Object.entries({ "config.yaml": "lr: 0.02 # mine\n", "report.html": "mine" }))
    writeFileSync(join(own, name), text);
  const args = ["--data", dataset, "--tables", "1", "--variants", "mt-only", "--seeds", "1", ...tinyArguments];
  for (const command of [
    ["ablate", ...args],
    ["train", dataset, ...few],
    ["train", dataset, ...few, "--resume"],
    ["demo", ...tinyArguments],
  ]) {
    const { code, stderr } = await mpn([...command, "--out", own]);
    assert.is(code, 1);
    assert.match(stderr, `${own} holds other things and was not made by mpn ${command[0]}`);
  }
  const config = join(own, "config.yaml");
  await refused(["train", dataset, "--config", config, "--out", own], /--config .* would be replaced/, 2, config);
  assert.equal(readdirSync(own), ["config.yaml", "report.html"]);
  assert.is(readFileSync(join(own, "report.html"), "utf8"), "mine");
});

test("a run that was stopped before its first checkpoint is begun again by the same command", async () => {
  const out = join(folder, "early");
  const args = ["train", dataset, "--out", out, ...few];
  // Killed while its shaders are compiled, or a little later.
  let watching: NodeJS.Timeout | undefined;
  const killed = await mpn(args, (child) => {
    watching ??= setInterval(() => existsSync(join(out, "config.yaml")) && child.kill("SIGKILL"), 1);
  });
  clearInterval(watching);
  assert.is(killed.code, null, killed.stderr);
  assert.not.ok(existsSync(join(out, "checkpoint.safetensors")));
  const { code, stderr } = await mpn([...args, "--resume"]);
  assert.is(code, 1);
  assert.match(stderr, "Nothing to resume");
  await done(args);
  // A run that is resumed may be told its own settings.
  await done([...args, "--config", join(out, "config.yaml"), "--resume"]);
});

test.run();
