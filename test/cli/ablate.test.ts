/** `mpn ablate` through the command line: two variants, two seeds, a few steps each. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readCheckpoint } from "#src/training/checkpoint.js";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const dataset = join(folder, "dataset");
const out = join(folder, "ablation");
/** Long enough to be killed in between. */
const settings = [...tinyArguments, "--set", "epochs=20"];
const ablate = (...more: string[]) => [
  "ablate",
  "--data",
  dataset,
  "--out",
  out,
  "--tables",
  "1",
  "--seeds",
  "2",
  ...settings,
  ...more,
];
const pair = ["--variants", "mpn,mt-only"];
const resultOf = (variant: string, seed: number) => join(out, variant, `seed-${seed}`, "result.json");
const runs = ["mt-only", "mpn"].flatMap((variant) => [0, 1].map((seed) => resultOf(variant, seed)));

test.before(() => writeTinyDataset(dataset));

test("killed half way, it goes on from the checkpoint and repeats nothing", async () => {
  // The third run (seed 1 of the first variant) dies between its first checkpoint and its end.
  const third = join(out, "mt-only", "seed-1", "checkpoint.safetensors");
  let watching: NodeJS.Timeout | undefined;
  const killed = await mpn(ablate(...pair), (child, stderr) => {
    if (!/run 3\/4/.test(stderr)) return;
    watching ??= setInterval(() => existsSync(third) && child.kill("SIGKILL"), 2);
  });
  clearInterval(watching);
  assert.is(killed.code, null, killed.stderr);
  assert.match(killed.stderr, /run 1\/4: MT Only, seed 0/);
  assert.match(killed.stderr, /run 2\/4: MPN, seed 0 {2}\(\d+s left\)/);
  assert.equal(runs.map(existsSync), [true, false, true, false]);
  const early = JSON.parse(readFileSync(join(out, "ablation.json"), "utf8"));
  assert.equal([early.finished, early.planned], [2, 4]);
  const before = [runs[0], runs[2]].map((path) => statSync(path).mtimeMs);

  const again = await mpn(ablate(...pair));
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, "2 of 4 runs are done already");
  assert.not.match(again.stderr, /run [12]\/4/);
  assert.match(again.stderr, /run 3\/4: MT Only, seed 1 {2}\(from its checkpoint, /);
  assert.match(again.stderr, /run 4\/4: MPN, seed 1/);
  assert.equal(
    [runs[0], runs[2]].map((path) => statSync(path).mtimeMs),
    before,
  );
  // The same weights as in one go, and by the command for a single run.
  const single = join(folder, "single");
  const train = ["train", dataset, "--out", single, "--variant", "mt-only", "--no-evaluate", ...settings];
  const { code, stderr } = await mpn([...train, "--set", "seed=1"]);
  assert.is(code, 0, stderr);
  const [whole, resumed] = await Promise.all([
    readCheckpoint(join(single, "checkpoint.safetensors")),
    readCheckpoint(third),
  ]);
  assert.equal([...resumed.weights], [...whole.weights]);
});

test("the tables hold every run, mean and spread, paired differences and the paper's figures", async () => {
  const { code, stdout, stderr } = await mpn([...ablate(...pair), "--json"]);
  assert.is(code, 0, stderr);
  const result = JSON.parse(stdout);
  assert.equal(
    result.runs.map((run: { variant: string; seed: number; steps: number }) => [run.variant, run.seed, run.steps]),
    [
      ["mt-only", 0, 40],
      ["mpn", 0, 40],
      ["mt-only", 1, 40],
      ["mpn", 1, 40],
    ],
  );
  const [{ title, rows }] = result.tables;
  assert.match(title, "Table 1");
  assert.equal(
    rows.map((row: { variant: string }) => row.variant),
    ["mt-only", "mpn"],
  );
  const mAP = (variant: string): number[] =>
    result.runs
      .filter((r: { variant: string }) => r.variant === variant)
      .map((r: { metrics: { mAP: number } }) => r.metrics.mAP);
  const [a, b] = mAP("mt-only");
  const [c, d] = mAP("mpn");
  const close = (x: number, y: number) => assert.ok(Math.abs(x - y) < 1e-12, `${x} is not ${y}`);
  close(rows[0].results.mAP.mean, (a + b) / 2);
  close(rows[0].results.mAP.sd, Math.abs(a - b) / Math.SQRT2);
  close(rows[1].above.difference.mAP.mean, (c - a + (d - b)) / 2);
  close(rows[0].against.difference.mAP.mean, (a - c + (b - d)) / 2);
  assert.equal(rows[0].paper.market, [94.4, 85.6]);
  assert.equal(
    result.order.map((o: { worse: string; better: string }) => [o.worse, o.better]),
    [["mt-only", "mpn"]],
  );
  const evaluated = await mpn([
    "evaluate",
    dataset,
    "--weights",
    join(out, "mpn/seed-0/checkpoint.safetensors"),
    "--json",
  ]);
  close(JSON.parse(evaluated.stdout).mAP, c);

  const files = readdirSync(out);
  for (const file of ["ablation.json", "ablation.md", "ablation.html", "settings.json"])
    assert.ok(files.includes(file));
  assert.equal(JSON.parse(readFileSync(join(out, "ablation.json"), "utf8")).tables, result.tables);
  const markdown = readFileSync(join(out, "ablation.md"), "utf8");
  assert.match(markdown, /\| MPN \|[^\n]*± [^\n]*\| 96\.3 \/ 89\.4 \|/);
  assert.match(markdown, "MT Only < MPN");
  assert.match(readFileSync(join(out, "ablation.html"), "utf8"), /<svg class="dots"[\s\S]*MT Only/);
});

test("variants of one seed see the same batches and start from the same values where they share them", async () => {
  // A learning rate of next to nothing leaves the initial values in the checkpoint.
  const still = join(folder, "still");
  const start = await mpn([
    ...["ablate", "--data", dataset, "--out", still, "--seeds", "1", "--variants", "baseline,naive-mtl,mpn"],
    ...[...tinyArguments, "--set", "lr=1e-30", "--set", "epochs=1"],
  ]);
  assert.is(start.code, 0, start.stderr);
  const [mpnRun, naive, baseline] = await Promise.all(
    ["mpn", "naive-mtl", "baseline"].map((v) => readCheckpoint(join(still, v, "seed-0", "checkpoint.safetensors"))),
  );
  assert.equal(mpnRun.sampler, naive.sampler);
  let compared = 0;
  for (const other of [naive, baseline]) {
    for (const [name, { data }] of other.weights) {
      const ours = mpnRun.weights.get(name);
      if (!ours || /running_/.test(name)) continue;
      compared++;
      // Parameters that start from zero have moved by next to nothing.
      assert.ok(
        data.every((value, i) => Math.abs(value - ours.data[i]) < 1e-20),
        name,
      );
    }
  }
  assert.ok(compared > 50);
  const [first, second] = ["parts.0.conv1.weight", "parts.1.conv1.weight"].map((name) => mpnRun.weights.get(name)!);
  assert.not.equal(first.data, second.data);
});

test("other settings than before are refused with the differences, other rows and seeds are not", async () => {
  const refused = await mpn(ablate(...pair, "--set", "lr=0.5", "--perturb"));
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /lr is 0\.5, the ablation there has 0\.01; perturb is 1, the ablation there has 0/);
  const more = await mpn([...ablate(...pair, "--seeds", "1"), "--json"]);
  assert.is(JSON.parse(more.stdout).planned, 2, more.stderr);
});

test("the checkpoint that all runs start from is known by its content", async () => {
  const place = join(folder, "init");
  const init = join(folder, "init.safetensors");
  copyFileSync(join(folder, "single", "checkpoint.safetensors"), init);
  const one = ["--variants", "mt-only", "--seeds", "1", "--out", place, "--set", "epochs=1", "--json"];
  const from = (path: string) => mpn([...ablate(...one), "--init", path]);
  const refused = async (path: string, expected: RegExp) => {
    const { code, stderr } = await from(path);
    assert.is(code, 1, stderr);
    assert.match(stderr, expected);
  };
  await refused(join(folder, "none"), /Cannot read .*none: no such file or folder/);
  assert.not.ok(existsSync(place));
  assert.is((await from(init)).code, 0);
  const copy = join(folder, "copy.safetensors");
  copyFileSync(init, copy);
  assert.is(JSON.parse((await from(copy)).stdout).finished, 1);
  copyFileSync(join(out, "mpn", "seed-0", "checkpoint.safetensors"), init);
  await refused(init, /init\.safetensors is not the checkpoint any more that the runs there started from/);
  const { stderr } = await mpn(ablate(...one));
  assert.match(stderr, /init is null, the ablation there has ".*init\.safetensors"/);
  // An earlier version knew the path alone, and fewer settings; from here on the content is known.
  const path = join(place, "settings.json");
  const { initSha256, lossScale, ...earlier } = JSON.parse(readFileSync(path, "utf8"));
  assert.equal([initSha256.length, lossScale], [64, "dynamic"]);
  writeFileSync(path, JSON.stringify(earlier));
  await refused(copy, /init is ".*copy.*", the ablation there has ".*init\.safetensors"/);
  assert.is((await from(init)).code, 0);
  copyFileSync(copy, init);
  await refused(init, /its content has changed/);
  // Settings that came since have had their defaults.
  writeFileSync(path, JSON.stringify({ ...earlier, init: null }));
  const other = await mpn(ablate(...one, "--set", "lossScale=8"));
  assert.match(other.stderr, 'lossScale is 8, the ablation there has "dynamic"');
  const units = await mpn(ablate(...one, "--matrix-units"));
  assert.match(units.stderr, "matrixUnits is true, the ablation there has false");
});

test("settings that are damaged or somebody else's are told as such", async () => {
  const place = join(folder, "foreign");
  mkdirSync(place);
  for (const text of ['{"lr": 0.0', '{"theme": "dark"}', "null", ""]) {
    writeFileSync(join(place, "settings.json"), text);
    const { code, stderr } = await mpn(ablate(...pair, "--out", place));
    assert.is(code, 1);
    assert.match(stderr, /settings\.json is damaged or not of mpn ablate.*Choose another folder/);
    assert.not.match(stderr, "bug in mpn");
    assert.is(readFileSync(join(place, "settings.json"), "utf8"), text);
  }
});

test("a run whose loss is not finite is shown as failed, and the others go on", async () => {
  const wild = join(folder, "wild");
  const args = [
    "ablate",
    "--data",
    dataset,
    "--out",
    wild,
    "--variants",
    "mt-only,mpn",
    "--seeds",
    "1",
    ...tinyArguments,
  ];
  const { code, stdout, stderr } = await mpn([...args, "--set", "lr=1e30", "--json"]);
  assert.is(code, 0, stderr);
  const { runs: both, tables } = JSON.parse(stdout);
  assert.is(both.length, 2);
  for (const run of both) assert.match(run.failed, /not finite/);
  assert.is(tables[0].rows[0].results.mAP, null);
  assert.match(readFileSync(join(wild, "ablation.md"), "utf8"), /\| MT Only \| failed/);
  const { stderr: quiet } = await mpn([...args, "--set", "lr=1e30"]);
  assert.match(quiet, "2 of 2 runs are done already");
  assert.match(quiet, "2 of them failed, --retry-failed does those again");
});

test("--retry-failed does a run that failed once more from its start, and no other", async () => {
  const folderOfRuns = join(folder, "again");
  const args = ["ablate", "--data", dataset, "--out", folderOfRuns, ...pair, "--seeds", "1", "--tables", "1"];
  const once = async (...more: string[]) => {
    const { code, stdout, stderr } = await mpn([...args, ...tinyArguments, "--set", "epochs=1", ...more, "--json"]);
    assert.is(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const first = await once();
  const [kept, path] = ["mt-only", "mpn"].map((variant) => join(folderOfRuns, variant, "seed-0", "result.json"));
  const before = statSync(kept).mtimeMs;
  const checkpoint = join(folderOfRuns, "mpn", "seed-0", "checkpoint.safetensors");
  const weights = readFileSync(checkpoint);
  // As a run leaves it that failed on its way: a result, and a checkpoint that is not the end.
  writeFileSync(
    path,
    JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), metrics: null, failed: "not finite" }),
  );
  writeFileSync(checkpoint, "half way");
  assert.is((await once()).runs[1].failed, "not finite");
  const second = await once("--retry-failed");
  const figures = (of: typeof first) =>
    of.runs.map((run: { metrics: object; steps: number }) => [run.metrics, run.steps]);
  assert.equal(figures(second), figures(first));
  assert.is(statSync(kept).mtimeMs, before);
  assert.ok(readFileSync(checkpoint).equals(weights));
});

test("wrong usage is refused before anything is trained", async () => {
  for (const [args, expected] of [
    [["--tables", "8"], /there is no table "8"; use 1, 2, 3, 4, 5, 6, 7, 9/],
    [["--variants", "mt"], /no variant "mt"; use baseline, mt-only/],
    [["--variants", "roi-resize"], /"roi-resize" is in none of the tables asked for \(1\)/],
    [["--set", "tasks=main"], /--set tasks: the variants differ in it/],
  ] as const) {
    const { code, stderr } = await mpn(ablate(...args));
    assert.is(code, 2, stderr);
    assert.match(stderr, expected);
  }
  rmSync(join(dataset, "query"), { recursive: true });
  const { code, stderr } = await mpn(ablate());
  assert.is(code, 1);
  assert.match(stderr, /query/);
});

test.run();
