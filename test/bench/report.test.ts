import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import { plainChoice } from "#src/ops/conv-choice.js";
import { tunedPath, writeTuned } from "#src/tuning/cache.js";
import type { Row } from "../../bench/comparison.js";
import { KINDS, summaryOf, sweep } from "../../bench/conv-shapes.js";
import { type Flags, SECTIONS, settingsOf, withFlags } from "../../bench/options.js";
import { README, withTables } from "../../bench/readme.js";
import { render } from "../../bench/report.js";
import { type Ability, findSystems, SYSTEMS } from "../../bench/systems.js";
import { temporaryFolder, tinyArguments } from "../support/tiny.js";

/** Where the reports look for what was tuned. */
const tuned = temporaryFolder();
const root = fileURLToPath(new URL("../..", import.meta.url));

function flagsOf(...args: string[]): Flags {
  const command = withFlags(new Command("report"))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return command.parse(args, { from: "user" }).opts();
}

test("what the flags leave open depends on the adapter", () => {
  const flags = flagsOf();
  assert.equal(flags.sections, [...SECTIONS]);
  const software = settingsOf(flags, true);
  assert.equal(software.batches, { infer: [1, 4, 32], train: [4], step: [4] });
  assert.equal(
    [software.size, software.works],
    [
      [384, 128],
      ["infer", "train", "step"],
    ],
  );
  const gpu = settingsOf(flags, false);
  assert.equal(gpu.batches, { infer: [1, 4, 32], train: [4, 48], step: [4, 48] });
  assert.ok(gpu.rounds > software.rounds);
  const quick = settingsOf(flagsOf("--quick"), true);
  assert.equal([quick.size, quick.rounds], [[96, 32], 1]);
});

test("flags are taken over, in the order of the report", () => {
  const flags = flagsOf(
    ...["--sections", "memory,adapter", "--cases", "train", "--systems", "mpn-webgpu,tfjs", "--size", "96x32"],
    ...["--batch", "2", "--rounds", "7", "--limit", "60", "--warm-cache"],
  );
  assert.equal(flags.sections, ["adapter", "memory"]);
  const settings = settingsOf(flags, false);
  assert.equal(settings.batches, { infer: [2], train: [2], step: [2] });
  assert.equal([settings.memoryBatch, settings.convolutionBatch], [2, 2]);
  assert.equal([settings.size, settings.rounds, settings.limitSeconds], [[96, 32], 7, 60]);
  assert.equal([settings.systems, settings.works, settings.warmCache], [["mpn-webgpu", "tfjs"], ["train"], true]);
  for (const wrong of [
    ["--sections", "adapter,nothing"],
    ["--cases", "extract"],
    ["--size", "96"],
    ["--rounds", "0"],
  ])
    assert.throws(() => flagsOf(...wrong), /invalid|Expected/, wrong.join(" "));
});

test("systems that are not installed are left out, with the command that installs them", () => {
  const { present, absent } = findSystems(
    ["mpn-webgpu", "tfjs", "jax-js"],
    [],
    (system) => system.package === undefined,
  );
  assert.equal(
    present.map(({ name }) => name),
    ["mpn-webgpu"],
  );
  assert.is(absent.length, 1);
  assert.match(absent[0], "TensorFlow.js");
  assert.match(absent[0], "`npm ci --ignore-scripts --prefix bench/peers`");
  assert.throws(() => findSystems(["tensorflow"], []), `there is no tensorflow; choose from ${SYSTEMS[0].name}, `);
});

test("float16 and matrix units are compared where an adapter has them, or by name", () => {
  const found = (abilities: readonly Ability[], names?: readonly string[]) =>
    findSystems(names, abilities, () => true)
      .present.map(({ name }) => name)
      .filter((name) => name.startsWith("mpn-webgpu"));
  assert.equal(found([]), ["mpn-webgpu"]);
  assert.equal(found(["float16"]), ["mpn-webgpu", "mpn-webgpu-f16"]);
  assert.equal(found(["float16", "matrix units"]), ["mpn-webgpu", "mpn-webgpu-f16", "mpn-webgpu-f16-matrix"]);
  assert.equal(found([], ["mpn-webgpu-f16-matrix"]), ["mpn-webgpu-f16-matrix"]);
  assert.equal(found([], ["mpn-webgpu-clamps"]), ["mpn-webgpu-clamps"]);
});

test("the peers are pinned, and no part of the package", () => {
  const manifest = (file: string) => JSON.parse(readFileSync(join(root, file), "utf8"));
  const { dependencies, private: unpublished } = manifest("bench/peers/package.json");
  const { packages } = manifest("bench/peers/package-lock.json");
  assert.is(unpublished, true);
  for (const [name, version] of Object.entries(dependencies)) {
    assert.match(version as string, /^\d+\.\d+\.\d+$/, name);
    assert.is(packages[`node_modules/${name}`].version, version);
  }
  for (const { package: name } of SYSTEMS) if (name) assert.ok(name in dependencies, name);
  const { files, dependencies: own, devDependencies } = manifest("package.json");
  assert.not.ok(files.some((file: string) => file.startsWith("bench")));
  for (const name of Object.keys(dependencies)) assert.not.ok(name in own || name in devDependencies, name);
});

test("a section is rendered as text and as Markdown", () => {
  const report = {
    title: "Title",
    notes: ["A note."],
    tables: [
      {
        title: "caption",
        rows: [
          ["", "ms"],
          ["x", "10"],
        ],
      },
    ],
    data: {},
  };
  assert.equal(render(report, false), ["TITLE", "", "A note.", "", "caption", "   ms", "x  10", ""]);
  assert.equal(render(report, true), [
    ...["## Title", "", "- A note.", "", "### caption", ""],
    ...["|  | ms |", "| --- | ---: |", "| x | 10 |", ""],
  ]);
});

test("convolutions are swept forward and backward", async () => {
  const device = await Device.open();
  const rounds: number[] = [];
  const { peakGflops, figures } = await sweep(device, {
    batch: 1,
    runs: 1,
    filter: "1x1/1 24x8 1024 to 256",
    onRound: (round) => rounds.push(round),
  });
  device.close();
  assert.equal(rounds, [0, 1]);
  assert.ok(peakGflops > 0);
  assert.equal(
    figures.map(({ kind }) => kind),
    [...KINDS],
  );
  const twoOps = 2 * 24 * 8 * 1024 * 256;
  assert.is(figures[0].flops, twoOps);
  for (const f of figures) {
    assert.ok(f.minMs > 0 && f.minMs <= f.medianMs && f.share > 0 && f.share <= f.bestShare, JSON.stringify(f));
    assert.is(summaryOf(figures, f.kind).median, f.share);
    assert.ok(f.clockMs > 0 && f.clockShare > 0);
    assert.equal(summaryOf(figures, f.kind, "clockShare"), {
      kind: f.kind,
      median: f.clockShare,
      least: f.clockShare,
      ms: f.clockMs,
    });
  }
});

function bench(...args: string[]) {
  const env = { ...process.env, MPN_TUNED: tuned };
  return spawnSync(process.execPath, ["--import", "tsx", "bench/index.ts", ...args], {
    cwd: root,
    encoding: "utf8",
    env,
  });
}

test("the report as data says what was measured, on stdout and in a file", () => {
  const { stdout, stderr, status } = bench("--json", "--sections", "adapter");
  assert.is(status, 0, stderr);
  const { adapter, software, tuned: problems, peakGflops, copyGbps, wrong, sections } = JSON.parse(stdout);
  assert.type(adapter, "string");
  assert.type(software, "boolean");
  assert.equal([problems, wrong], [0, []]);
  assert.ok(peakGflops > 0 && copyGbps > 0);
  assert.equal(Object.keys(sections), ["adapter"]);
  for (const field of ["name", "description", "cpu", "threads", "node", "date", "commit"])
    assert.ok(field in sections.adapter, field);
  assert.match(stderr, /\[1\/1, \d+ s\] adapter/);

  const out = join(temporaryFolder(), "report.md");
  const written = bench("--markdown", "--out", out, "--sections", "adapter");
  assert.is(written.status, 0, written.stderr);
  assert.is(written.stdout, "");
  const report = readFileSync(out, "utf8");
  assert.match(report, /^# mpn-webgpu bench\n\n## .*\n(.*\n)+\| multiply-adds, best of several runs and shaders \| \d/);
});

test("what the report would replace is looked at before anything is measured", () => {
  const out = join(temporaryFolder(), "notes.md");
  writeFileSync(out, "## My notes\n");
  const refused = bench("--out", out, "--sections", "adapter");
  assert.is(refused.status, 1);
  assert.match(refused.stderr, /--out .*notes\.md: what is there is no report of npm run bench, and would be lost/);
  assert.not.match(refused.stderr, /\[1\/1/);
  assert.is(readFileSync(out, "utf8"), "## My notes\n");

  // Its own reports are replaced.
  for (const name of ["report.json", "report.md", "report.txt"]) {
    const own = join(temporaryFolder(), name);
    for (const run of [1, 2]) {
      const flags = ["--out", own, "--sections", "adapter", ...(name === "report.md" ? ["--markdown"] : [])];
      const { status, stderr, stdout } = bench(...flags);
      assert.equal([status, stdout], [0, ""], `${name}, run ${run}: ${stderr}`);
    }
    const text = readFileSync(own, "utf8");
    if (name === "report.json") assert.type(JSON.parse(text).sections.adapter, "object");
    else assert.match(text, name === "report.md" ? /^# mpn-webgpu bench\n/ : /^MPN-WEBGPU BENCH\n/);
  }
});

test("the README's speed tables are the output of the benchmark", () => {
  const readme = readFileSync(README, "utf8");
  assert.is(withTables(readme), readme, "node --import tsx bench/readme.ts writes them");
});

test("every section that runs a model gives its figures at any size, with what was tuned", async () => {
  const device = await Device.open();
  const choice = plainChoice(device.profile, { rows: 8, cols: 8, multiple: 4 });
  await writeTuned(tunedPath(device.profile, tuned)!, device.profile, { "a problem": choice });
  device.close();
  const names = ["models", "step", "kernels", "small", "memory"];
  const { stdout, stderr, status } = bench(
    ...[
      "--json",
      "--quick",
      "--warm-cache",
      "--systems",
      "mpn-webgpu,mpn-webgpu-clamps,mpn-webgpu-f16",
      "--sections",
      names.join(","),
    ],
    ...["--size", "48x16", "--cases", "infer,step", "--batch", "4", ...tinyArguments],
  );
  assert.is(status, 0, stderr);
  const { tuned: problems, sections } = JSON.parse(stdout);
  assert.is(problems, 1);
  const { models, step, kernels, small, memory } = sections;
  assert.equal(
    models.cases.map(({ work, batch, rows }: { work: string; batch: number; rows: Row[] }) => [
      ...[work, batch],
      rows.map(({ system, wrong, runs, secondStarts }) => [system, wrong, runs > 0, secondStarts > 0]),
    ]),
    ["infer", "step"].map((work) => [
      ...[work, 4],
      ["mpn-webgpu", "mpn-webgpu-clamps", "mpn-webgpu-f16"].map((system) => [system, false, true, true]),
    ]),
  );
  for (const { rows } of models.cases) {
    const [exact, clamped, halves] = rows;
    assert.is(clamped.error, 0);
    assert.ok(exact.error === null && halves.error < halves.bound && exact.bound < halves.bound);
    assert.ok(exact.flops > 0 && halves.flops >= exact.flops, "scaling a loss counts, too");
    assert.ok(exact.gpuBytes > 0);
    assert.equal([exact.tuned, clamped.tuned, halves.tuned], [1, 1, 1], "the children read it, too");
  }
  assert.ok(models.cases[0].rows[2].error > 1e-6, "float16 was not used");
  assert.equal([step.objectsMade, step.batch, step.size], [0, 4, [48, 16]]);
  assert.ok(step.dispatches > step.pipelines && step.cpuMs.medianMs > 0);
  for (const { shaders, whole, dispatchMs } of [step, step.inference]) {
    assert.is(whole.ms, dispatchMs);
    assert.is(
      shaders.reduce((sum: number, { count }: { count: number }) => sum + count, 0),
      whole.count,
    );
  }
  assert.ok(step.inference.whole.count < step.whole.count);
  assert.ok(kernels.kernels.some(({ op }: { op: string }) => op === "cropResize"));
  assert.ok(small.trainImagesPerSecond > 0 && small.extraction.networkPerSecond > 0);
  assert.ok(memory.ours.total > memory.ours.variables && memory.torch === null);
});

test("a system that computes something else is named at the end, and the report fails", () => {
  if (process.platform === "win32") return;
  // In Python's place a child whose features are three numbers.
  const folder = temporaryFolder();
  const python = join(folder, "python");
  const child = `"${process.execPath}" "${join(import.meta.dirname, "fake-child.mjs")}" torch "${folder}/log" off`;
  writeFileSync(python, `#!/bin/sh\n[ "$1" = -c ] && echo cpu || exec ${child}\n`, { mode: 0o755 });
  process.env.PYTHON = python;
  const { stdout, stderr, status } = bench(
    ...["--quick", "--warm-cache", "--sections", "models", "--cases", "infer", "--systems", "mpn-webgpu,torch"],
    ...["--size", "48x16", "--batch", "2", ...tinyArguments],
  );
  delete process.env.PYTHON;
  assert.is(status, 1);
  const line = "WRONG: PyTorch, CPU 1.2.3 is off by Infinity, more than 0.0001 (infer, batch 2).";
  assert.ok(stdout.includes(line), stdout);
  assert.match(stderr.trim().split("\n").at(-1)!, `warning: ${line}`);
});

test("wrong usage is refused", () => {
  const { status, stderr } = bench("--sections", "nothing");
  assert.is(status, 2);
  assert.match(stderr, "There is no nothing");
});

test.run();
