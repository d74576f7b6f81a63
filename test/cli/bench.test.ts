import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { summarize, table } from "#src/cli/bench/timing.js";
import { presets } from "#src/training/config.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

function bench(...args: string[]) {
  return spawnSync(process.execPath, ["dist/cli/index.js", "bench", ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, MPN_DEBUG: "" },
  });
}

const small = ["--preset", "small", "--runs", "2", "--json"];

test("bench model gives the fields that scripts rely on, and memory is what the plan said", () => {
  const { stdout, status, stderr } = bench("model", ...small, "--model", "mpn", "--batch", "4", "--profile");
  assert.is(status, 0, stderr);
  const { adapter, peakGflops, copyGbps, cases } = JSON.parse(stdout);
  assert.type(adapter, "string");
  assert.ok(peakGflops > 0 && copyGbps > 0);
  assert.equal(
    cases.map((c: { mode: string }) => c.mode),
    ["infer", "train"],
  );
  for (const c of cases) {
    assert.equal([c.model, c.batch, c.size], ["mpn", 4, presets.small.imageSize]);
    assert.ok(c.minMs <= c.medianMs && c.medianMs <= c.maxMs && c.minMs > 0);
    assert.ok(c.firstMs > c.minMs);
    assert.ok(Math.abs(c.msPerImage - c.medianMs / 4) < 1e-9);
    assert.ok(Math.abs(c.peakShare - c.gflops / peakGflops) < 1e-9);
    assert.ok(c.peakShare < 1, `${c.gflops} GFLOP/s of a peak of ${peakGflops}`);
    assert.ok(c.liveBytes <= c.intermediateBytes);
    assert.ok(c.gpuBytes >= c.plannedBytes);
    // Beside the plan there are uniforms and the buffers that results are read back through.
    assert.ok(c.gpuBytes - c.plannedBytes < 2 ** 20, `${c.gpuBytes} bytes, planned ${c.plannedBytes}`);
    assert.ok(c.profile.some((row: { shader: string }) => row.shader === "conv"));
  }
});

test("bench kernels times every kind of operation of a step", () => {
  const { stdout, status, stderr } = bench("kernels", ...small, "--batch", "2", "--runs", "1");
  assert.is(status, 0, stderr);
  const { kernels, peakGflops } = JSON.parse(stdout);
  const ops = new Set(kernels.map((k: { op: string }) => k.op));
  for (const op of [
    "conv2d",
    "conv2dInputGrad",
    "conv2dWeightGrad",
    "batchNorm",
    "batchNormGrad",
    "maxPool",
    "maxPoolGrad",
    "globalMaxPool",
    "cropResize",
    "cropResizeGrad",
    "sgd",
  ])
    assert.ok(ops.has(op), `${op} among ${[...ops].join(", ")}`);
  for (const k of kernels) {
    assert.ok(k.medianMs > 0, k.op);
    assert.ok(k.gflops <= peakGflops, `${k.op} ${k.shapes}: ${k.gflops} GFLOP/s`);
  }
  const filtered = JSON.parse(bench("kernels", ...small, "--batch", "2", "--filter", "maxPool").stdout).kernels;
  assert.ok(filtered.length > 0 && filtered.every((k: { op: string }) => k.op.includes("maxPool")));
});

test("bench rerank measures both rankings, phase by phase, and memory beside the features", () => {
  const { stdout, status, stderr } = bench("rerank", "--queries", "20", "--gallery", "108", "--dim", "12", "--json");
  assert.is(status, 0, stderr);
  const result = JSON.parse(stdout);
  assert.is(result.featureBytes, 4 * 12 * 128);
  assert.equal(
    result.phases.map(({ phase }: { phase: string }) => phase),
    ["neighbours", "vectors", "inverted index", "both rankings"],
  );
  for (const { seconds, peakBytes } of result.phases) assert.ok(seconds >= 0 && peakBytes > 0);
  assert.ok(result.gpuPeakBytes > 0 && result.peakBytes >= result.phases[0].peakBytes);
  for (const rate of [result.mAP, result.rank1, result.rerank.mAP, result.rerank.rank1])
    assert.ok(rate > 0 && rate <= 1);
});

test("wrong choices are refused", () => {
  assert.is(bench("model", "--size", "384").status, 2);
  assert.is(bench("model", "--mode", "both").status, 2);
  const { status, stderr } = bench("model", "--size", "100x50", "--mode", "infer");
  assert.is(status, 2);
  assert.match(stderr, /parts 6 does not divide the 7 rows/);
});

test("the median of an even number is one that was measured", () => {
  assert.equal(summarize([4, 1, 3, 2]), { medianMs: 2, minMs: 1, maxMs: 4 });
  assert.equal(summarize([5]), { medianMs: 5, minMs: 5, maxMs: 5 });
});

test("columns are flush", () => {
  const lines = table([
    ["", "ms"],
    ["conv", "10.5"],
  ]);
  assert.equal(lines, ["        ms", "conv  10.5"]);
});

test.run();
