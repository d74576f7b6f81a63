import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { summarize } from "#src/cli/bench/timing.js";
import { presets } from "#src/training/load-config.js";

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
  const { adapter, peakGflops, copyGbps, cases, matrixUnits } = JSON.parse(stdout);
  assert.type(adapter, "string");
  assert.is(matrixUnits, null, "nobody asked for them");
  assert.ok(peakGflops > 0 && copyGbps > 0);
  assert.equal(
    cases.map((c: { mode: string }) => c.mode),
    ["infer", "train"],
  );
  for (const c of cases) {
    assert.equal([c.model, c.batch, c.size], ["mpn", 4, presets.small.imageSize]);
    assert.ok(c.minMs <= c.medianMs && c.medianMs <= c.maxMs && c.minMs > 0);
    assert.ok(c.firstMs > c.minMs);
    assert.ok(c.uploadMs > 0 && c.inRowMs > 0);
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

test("matrix units that the adapter lacks are warned of, and nothing changes", () => {
  const { stdout, status, stderr } = bench("model", ...small, "--mode", "infer", "--batch", "1", "--matrix-units");
  assert.is(status, 0, stderr);
  const { matrixUnits } = JSON.parse(stdout);
  if (matrixUnits === null) assert.match(stderr, /warning: --matrix-units: .* has none that the kernels can use/);
  else assert.ok([matrixUnits.m, matrixUnits.n, matrixUnits.k].every((side) => side >= 8));
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
  assert.equal([result.limitBytes, result.withinLimit], [2 ** 31, true]);
  assert.ok(result.memoryBytes >= result.phases[0].peakBytes && result.memoryBytes < 2 ** 31);
  for (const rate of [result.mAP, result.rank1, result.rerank.mAP, result.rerank.rank1])
    assert.ok(rate > 0 && rate <= 1);
});

test("bench rerank fails beyond its limit of memory, and still says all", () => {
  const few = ["rerank", "--queries", "20", "--gallery", "108", "--dim", "12", "--limit", "1"];
  const { stdout, status } = bench(...few);
  assert.is(status, 1);
  assert.match(stdout, /re-ranked/);
  assert.match(stdout, /MiB beside the features.*: MORE THAN the limit of 1\.0 MiB/);
  assert.is(JSON.parse(bench(...few, "--json").stdout).withinLimit, false);
});

test("the peers are measured by name; what cannot be trained only infers", () => {
  const pyramid = bench("model", ...small, "--model", "pyramid", "--batch", "2", "--mode", "train");
  assert.is(pyramid.status, 0, pyramid.stderr);
  assert.ok(JSON.parse(pyramid.stdout).cases[0].gflopPerImage > 0);
  const dsa = bench("model", ...small, "--model", "dsa", "--batch", "2");
  assert.is(dsa.status, 0, dsa.stderr);
  assert.equal(
    JSON.parse(dsa.stdout).cases.map((c: { model: string; mode: string }) => [c.model, c.mode]),
    [["dsa", "infer"]],
  );
  const trained = bench("model", ...small, "--model", "dsa", "--mode", "train");
  assert.is(trained.status, 2);
  assert.match(trained.stderr, /unpublished/);
});

const tiny = ["--size", "96x32", "--width", "8", "--layers", "1,1,1,1", "--batch", "4", "--runs", "2"];

test("bench table8 measures every model of the table beside the paper's figures", () => {
  const { stdout, status, stderr } = bench("table8", ...tiny, "--json");
  assert.is(status, 0, stderr);
  const { rows, batch, rounds } = JSON.parse(stdout);
  assert.equal([batch, rounds], [4, 2]);
  assert.equal(
    rows.map((row: { model: string }) => row.model),
    ["pcb", "mgn", "pyramid", "dsa", "mpn0"],
  );
  assert.equal(
    rows.map((row: { paper: { trainMs: number; testMs: number } }) => [row.paper.trainMs, row.paper.testMs]),
    [
      [8.3, 4.9],
      [16.2, 11.9],
      [14.5, 6.4],
      [34.7, 5.4],
      [10.9, 5.1],
    ],
  );
  for (const row of rows) {
    assert.ok(row.params > 0 && row.paramsWithStatistics > row.params, row.model);
    assert.ok(row.gflopPerImage > 0 && row.testMsPerImage > 0);
    assert.ok(row.test.minMs <= row.testMsPerImage && row.testMsPerImage <= row.test.maxMs);
    assert.ok(row.testGpuBytes > 4 * row.paramsWithStatistics);
    assert.is(row.toPcb.test, row.testMsPerImage / rows[0].testMsPerImage);
    assert.is(row.toPcb.testGpuBytes, row.testGpuBytes / rows[0].testGpuBytes);
    if (row.model === "dsa") {
      assert.equal([row.trainMsPerImage, row.train, row.trainGpuBytes, row.toPcb.train], [null, null, null, null]);
      assert.match(row.untrained, "unpublished");
      assert.is(row.gpuBytes, row.testGpuBytes);
      continue;
    }
    assert.ok(row.train.minMs <= row.trainMsPerImage && row.trainMsPerImage <= row.train.maxMs);
    assert.ok(row.trainGflopPerImage > 2 * row.gflopPerImage, "backward is two thirds of a step");
    // Parameters, momenta and gradients.
    assert.ok(row.gpuBytes > 12 * row.params && row.gpuBytes === row.trainGpuBytes);
    assert.is(row.toPcb.train, row.trainMsPerImage / rows[0].trainMsPerImage);
  }
  assert.ok(Math.abs(rows[4].paperToPcb.train - 10.9 / 8.3) < 1e-12);

  // What the others hold on the device meanwhile is not counted.
  const alone = JSON.parse(bench("table8", ...tiny, "--models", "mpn0", "--json").stdout).rows;
  assert.is(alone.length, 1);
  for (const field of ["params", "gflopPerImage", "gpuBytes", "testGpuBytes"])
    assert.is(alone[0][field], rows[4][field]);
  assert.is(alone[0].toPcb.train, null);
});

test("bench table8 prints Markdown, and refuses what it does not have", () => {
  const { stdout, status, stderr } = bench("table8", ...tiny, "--models", "pcb,dsa", "--markdown");
  assert.is(status, 0, stderr);
  assert.match(stdout, /\| {2}\| parameters \| .*\n\| --- \| ---: \|/);
  assert.match(stdout, /\| DSA-reID \| .* 38\.5 M \| 187\.8 M \|/);
  assert.match(stdout, /^\* the count of parameters that rounds to the paper's$/m);
  assert.match(stdout, /\| DSA-reID \| - \| 34.7 \| - \| 4.18 x \|/);
  assert.match(stdout, "DSA-reID is not trained here");
  const unknown = bench("table8", "--models", "pcb,resnet");
  assert.is(unknown.status, 2);
  assert.match(unknown.stderr, "Table 8 has no resnet; it has pcb, mgn, pyramid, dsa, mpn0");
  assert.is(bench("table8", "--size", "100x50").status, 2);
  assert.is(bench("table8", "--layers", "3,4,6").status, 2);
});

test("wrong choices are refused", () => {
  assert.is(bench("model", "--size", "384").status, 2);
  assert.is(bench("model", "--mode", "both").status, 2);
  const { status, stderr } = bench("model", "--size", "100x50", "--mode", "infer");
  assert.is(status, 2);
  assert.match(stderr, /parts 6 does not divide the 7 rows/);
});

test("the median of an even number is one that was measured", () => {
  assert.equal(summarize([4, 1, 3, 2]), { medianMs: 2.5, minMs: 1, maxMs: 4 });
  assert.equal(summarize([5]), { medianMs: 5, minMs: 5, maxMs: 5 });
});

test.run();
