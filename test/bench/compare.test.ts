import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type CompareOptions, compareCase, type Failure, type Outcome } from "../../bench/compare.js";
import { comparison, comparisonTable, type Row, relativeError } from "../../bench/comparison.js";
import type { Job } from "../../bench/peer.js";
import type { System } from "../../bench/systems.js";
import { temporaryFolder } from "../support/tiny.js";

const folder = temporaryFolder();
const script = fileURLToPath(new URL("./fake-child.mjs", import.meta.url));
let logs = 0;

/** Fake systems named by their behaviours, the first one standing for this engine, and the lines that they log. */
function fakes(...behaviours: string[]) {
  const log = join(folder, `${++logs}.log`);
  writeFileSync(log, "");
  const systems = behaviours.map((behaviour, i): System => {
    const name = i === 0 ? "mpn-webgpu" : behaviour;
    const command = { file: process.execPath, args: [script, name, log, behaviour] };
    return { name, title: name, works: ["infer"], command };
  });
  return { systems, lines: () => readFileSync(log, "utf8").trim().split("\n") };
}

const job = { mode: "infer", batch: 2, threads: 1, lr: 0, momentum: 0, weightDecay: 0 } as Job;
const options: CompareOptions = {
  rounds: 2,
  budgetSeconds: 60,
  limitSeconds: 60,
  restartWithinSeconds: 60,
  starts: 3,
  say: () => {},
};
const isOutcome = (o: Outcome | Failure): o is Outcome => !("failed" in o);

test("a system runs for a while before each run that counts, and starts no oftener than asked", async () => {
  const { systems, lines } = fakes("good", "slow");
  const [ours, slow] = (await compareCase(systems, job, { ...options, starts: 0, warmMs: 100 })) as Outcome[];
  assert.equal([ours.runs, slow.runs], [2, 2]);
  assert.equal([slow.firstStarts, slow.secondStarts, slow.secondStartMs], [1, 0, null]);
  assert.is(lines().filter((line) => line.startsWith("slow prepares")).length, 1);
  // The first one, two that count, and in 100 ms some of 40 ms before each of these.
  const runs = lines().filter((line) => line.startsWith("slow run")).length;
  assert.ok(runs >= 5 && runs <= 9, `${runs} runs`);
});

test("systems take turns, each in a process of its own, and start again with their own cache of shaders", async () => {
  const { systems, lines } = fakes("good", "off");
  const outcomes = await compareCase(systems, job, options);
  const [events, caches] = [0, 1].map((part) => lines().map((line) => line.match(/^(.*) (\S+)$/)![part + 1]));
  const starts = (name: string) => [`${name} prepares infer`, `${name} run 1`];
  const rounds = [2, 3].flatMap((run) => [`mpn-webgpu run ${run}`, `off run ${run}`]);
  assert.equal(events, [
    ...starts("mpn-webgpu"),
    ...starts("off"),
    ...rounds,
    ...[...starts("mpn-webgpu"), ...starts("off")],
    // From the second time on, a first start comes before each second one.
    ...[2, 3].flatMap(() => ["mpn-webgpu", "off"].flatMap((name) => [...starts(name), ...starts(name)])),
  ]);
  const cachesOf = (name: string) => caches.filter((_, i) => events[i] === `${name} prepares infer`);
  const [first, ...again] = cachesOf("mpn-webgpu");
  assert.equal(
    again.map((cache) => cache === first),
    [true, false, true, false, true],
  );
  assert.is(new Set(cachesOf("mpn-webgpu")).size, 3);
  assert.ok(cachesOf("off").every((cache) => !cachesOf("mpn-webgpu").includes(cache)));
  assert.ok(outcomes.every(isOutcome));
  for (const outcome of outcomes.filter(isOutcome)) {
    assert.equal([outcome.runs, outcome.version, outcome.gpuBytes, outcome.flops], [2, "1.2.3", 123, 4e6]);
    assert.ok(outcome.firstStartMs > outcome.firstRunMs && outcome.secondStartMs! > 0);
    assert.equal([outcome.firstStarts, outcome.secondStarts], [3, 3]);
    if (process.platform !== "linux") continue;
    assert.ok(outcome.peakBytes! > 2 ** 20);
    assert.ok(outcome.cpuMs! >= 0 && outcome.idleCores! < 1);
  }
});

test("a system that fails is named with its own words, and the others go on", async () => {
  const { systems } = fakes("good", "refuses", "dies", "hangs");
  // Longer than Node takes to start on a busy machine.
  const outcomes = await compareCase(systems, job, { ...options, limitSeconds: 10 });
  const said = outcomes.map((o) => (isOutcome(o) ? o.runs : o.failed));
  assert.equal(said, [
    2,
    "no such adapter",
    "dies ended with code 3: Error: the driver crashed",
    "hangs took more than 10 s to run",
  ]);
  const missing = { ...systems[0], command: { file: join(folder, "nothing"), args: [] } };
  const [failure] = await compareCase([missing], job, options);
  assert.match((failure as Failure).failed, "could not be started");
});

test("a slow system has fewer runs, at least one, and no second start", async () => {
  const { systems } = fakes("good", "slow");
  const limits = { ...options, rounds: 8, budgetSeconds: 0.1, restartWithinSeconds: 0 };
  const [good, slow] = (await compareCase(systems, job, limits)) as Outcome[];
  assert.is(good.runs, 8);
  assert.ok(slow.runs <= 2, `${slow.runs} runs`);
  assert.equal([slow.secondStartMs, slow.secondStarts, slow.firstStarts], [null, 0, 1]);
  const [, once] = (await compareCase(systems, job, { ...limits, budgetSeconds: 0.001 })) as Outcome[];
  assert.is(once.runs, 1);
});

test("second starts that worked are kept when a later one fails", async () => {
  const [ours, tires] = (await compareCase(fakes("good", "tires").systems, job, options)) as Outcome[];
  assert.equal([ours.secondStarts, tires.secondStarts], [3, 1]);
  assert.equal([ours.firstStarts, tires.firstStarts], [3, 1]);
  assert.ok(tires.secondStartMs! > 0);
});

test("what is beyond the bound of its arithmetic is wrong", async () => {
  const outcomes = (await compareCase(fakes("good", "off").systems, job, options)) as Outcome[];
  const wrong = (given: readonly Outcome[]) => (comparison(given, 2, 100) as Row[]).map((row) => row.wrong);
  assert.equal(wrong(outcomes), [false, true]);
  const { rows } = comparisonTable("a case", comparison(outcomes, 2, 100));
  assert.is(rows[2][rows[0].indexOf("relative error")], "1.0e-3 WRONG, bound 1e-4");
  const [ours, off] = outcomes;
  assert.equal(wrong([ours, { ...off, system: "mpn-webgpu-f16" }]), [false, false]);
  assert.equal(wrong([{ ...ours, system: "mpn-webgpu-f16" }, off]), [false, false], "as rough as the reference");
  assert.equal(wrong([ours, { ...off, features: Float32Array.of(1, Number.NaN, 4) }]), [false, true]);
  assert.equal(wrong([{ ...ours, features: Float32Array.of(Number.NaN, 1, 4) }]), [true]);
  const losses = (values: number[], system = "off") => ({ ...off, system, features: null, losses: values });
  assert.equal(wrong([losses([1, 2]), losses([1 + 1e-6, 3]), losses([1 + 1e-4, 2]), losses([])]), [
    ...[false, false, true, true],
  ]);
  assert.equal(wrong([losses([1]), losses([1.001], "torch-autocast")]), [false, false]);
});

test("outputs are compared with the first system's, losses with those of the same steps", async () => {
  const inference = (await compareCase(fakes("good", "off").systems, job, options)) as Outcome[];
  const [ours, off] = comparison(inference, 2, 100) as Row[];
  assert.is(ours.error, null);
  assert.ok(Math.abs(off.error! - 0.001) < 1e-6, `${off.error}`);
  assert.is(ours.toOurs, 1);
  assert.is(off.toOurs, off.medianMs / ours.medianMs);
  assert.ok(Math.abs(off.gflops! * off.medianMs - 4) < 1e-9);
  assert.is(off.peakShare, off.gflops! / 100);
  assert.is(ours.msPerImage, ours.medianMs / 2);
  assert.not.ok("features" in ours);

  const { systems } = fakes("trains", "trains");
  const trained = (await compareCase(systems, { ...job, mode: "train" }, options)) as Outcome[];
  const fewer = { ...trained[1], losses: [1.5, 0.5] };
  const [, row] = comparison([trained[0], fewer], 2, 100) as Row[];
  assert.is(row.error, 0.5);
  assert.equal(row.lossErrors, [0.5, 0]);
  const { rows } = comparisonTable("training", [comparison(trained, 2, 100)[0], row]);
  assert.equal(
    rows.slice(1).map((cells) => cells[rows[0].indexOf("relative error")]),
    ["reference", "5.0e-1, 0.0e+0 after 1 WRONG, bound 1e-5"],
  );
});

test("the table has a line for each system, failed ones included", async () => {
  const outcomes = await compareCase(fakes("good", "off", "dies").systems, job, options);
  const { rows } = comparisonTable("a case", comparison(outcomes, 2, 100));
  assert.equal(new Set(rows.map((row) => row.length)).size, 1);
  const cell = (row: number, head: string) => rows[row][rows[0].indexOf(head)];
  assert.is(cell(1, ""), "mpn-webgpu 1.2.3");
  assert.equal([cell(1, "to ours"), cell(1, "relative error"), cell(1, "runs")], ["1.00 x", "reference", "2"]);
  assert.is(cell(2, "relative error"), "1.0e-3 WRONG, bound 1e-4");
  assert.match(rows[3].join(" "), "dies failed: dies ended with code 3");
});

test("where nothing can be compared, the error says so", () => {
  assert.is(relativeError([1, 2], [1, 4]), 0.5);
  assert.is(relativeError([1], [1, 4]), Number.POSITIVE_INFINITY);
  assert.ok(Number.isNaN(relativeError([1, Number.NaN, 4], [1, 2, 4])));
});

test.run();
