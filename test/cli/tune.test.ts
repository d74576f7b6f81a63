import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "mpn-tune-"));

function mpn(command: string, tuned = folder) {
  return spawnSync(process.execPath, ["dist/cli/index.js", ...command.split(" ")], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, MPN_DEBUG: "", MPN_TUNED: tuned },
  });
}

// One problem: the convolution that ends a bottleneck of the last stage.
const tune = "tune --preset small --size 96x32 --batch 2 --mode infer --rounds 1 --quick --filter 1x96 --json";

test("tune keeps winners that other commands then use, and tunes nothing twice", () => {
  const { stdout, stderr, status } = mpn(tune);
  assert.is(status, 0, stderr);
  const { adapter, shaders, path, problems } = JSON.parse(stdout);
  assert.ok(problems.length >= 1);
  for (const { problem, default: usual, winner, ratio, tried } of problems) {
    assert.match(problem, /of 1x96 /);
    assert.match(usual, /^(stationary|registers|tiled) /);
    assert.match(winner, /^(stationary|registers|tiled) /);
    assert.ok(ratio >= 1 && tried.length >= 1);
  }
  assert.ok(
    problems.some((p: { tried: unknown[] }) => p.tried.length >= 2),
    "there is a choice",
  );
  const kept = JSON.parse(readFileSync(path, "utf8"));
  assert.is(kept.adapter[0], adapter);
  assert.is(kept.shaders, shaders);
  assert.equal(
    Object.keys(kept.choices),
    problems.map((p: { problem: string }) => p.problem),
  );
  assert.equal(readdirSync(folder).length, 1);

  const again = mpn(tune.replace(" --json", ""));
  assert.is(again.status, 0, again.stderr);
  assert.match(again.stderr, /kernels are chosen as they were tuned on this adapter/);
  assert.match(again.stderr, new RegExp(`${problems.length} of ${problems.length} problems are tuned already`));
  assert.match(again.stdout, /nothing was tuned/);

  const bench = mpn("bench model --preset small --size 96x32 --mode infer --batch 2 --runs 1");
  assert.is(bench.status, 0, bench.stderr);
  assert.match(bench.stderr, /kernels are chosen as they were tuned on this adapter/);

  writeFileSync(path, "{");
  const damaged = mpn(`${tune} --rounds 1`);
  assert.is(damaged.status, 0, damaged.stderr);
  assert.match(damaged.stderr, /warning: .* is ignored: it is damaged/);
  assert.equal(Object.keys(JSON.parse(readFileSync(path, "utf8")).choices), Object.keys(kept.choices), "written anew");
});

test("maps in float16 are tuned for themselves, beside those in float32", () => {
  const tuned = join(folder, "halves");
  const { stdout, stderr, status } = mpn(`${tune} --precision float16`, tuned);
  assert.is(status, 0, stderr);
  const { path, precision, problems } = JSON.parse(stdout);
  assert.is(precision, "float16");
  const keys = problems.map((p: { problem: string }) => p.problem);
  assert.ok(keys.some((key: string) => key.endsWith(" f16 a,c")));
  assert.equal(Object.keys(JSON.parse(readFileSync(path, "utf8")).choices), keys);
  const infer = tune.replace(" --json", "");
  const again = mpn(`${infer} --precision float16`, tuned);
  assert.match(again.stderr, new RegExp(`${keys.length} of ${keys.length} problems are tuned already`));

  const wide = mpn(infer, tuned);
  assert.is(wide.status, 0, wide.stderr);
  assert.ok(Object.keys(JSON.parse(readFileSync(path, "utf8")).choices).length > keys.length);
  assert.is(mpn("tune --precision float8").status, 2);
});

test("off keeps nothing; what cannot be is wrong usage", () => {
  const off = mpn(tune.replace("1x96", "nothing"), "off");
  assert.is(off.status, 0, off.stderr);
  assert.match(off.stderr, /MPN_TUNED is off/);
  assert.equal(JSON.parse(off.stdout).problems, []);
  assert.is(JSON.parse(off.stdout).path, null);
  assert.is(mpn("tune --batch none").status, 2);
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
