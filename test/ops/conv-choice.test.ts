/** Which kernel makes a convolution, on adapters that exist on paper. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { DeviceProfile } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { storeHalves } from "#src/graph/storage.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { describeChoice, firstCandidates, neighbours } from "#src/ops/conv-candidates.js";
import { type ConvProblem, choiceFits, chooseConv, plainChoice, problemKey } from "#src/ops/conv-choice.js";
import { ladderOf, pixelsPerSplit, RUNGS, tileFits, tileSize, type WorkgroupTile } from "#src/ops/conv-tiles.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { forward, gpu, of, problems, shapes, VENDORS } from "../support/conv-problems.js";
import { paperProfile } from "../support/profile.js";

const tileOf = (profile: DeviceProfile, problem: ConvProblem) => {
  const choice = chooseConv(profile, problem);
  assert.is(choice.kernel, "tiled", problemKey(problem));
  return choice.tile as WorkgroupTile;
};

const outputs = (t: WorkgroupTile) => [t.lanesY * t.tm, t.lanesX * t.tv * 4];

test("the largest rung is taken whose grid fills the machine", () => {
  const nvidia = gpu("nvidia");
  const amd = gpu("amd");
  assert.equal(outputs(tileOf(amd, forward([32, 24, 8, 512], [1, 1, 512, 2048]))), [128, 128]);
  assert.equal(
    outputs(tileOf(amd, forward([32, 24, 8, 512], [3, 3, 512, 512], { padding: 1 }))),
    [128, 64],
    "192 tiles of 128 x 128 would be more than one for some units and one for the others",
  );
  assert.equal(outputs(tileOf(nvidia, forward([32, 24, 8, 512], [1, 1, 512, 2048]))), [64, 128]);
  assert.equal(outputs(tileOf(nvidia, forward([32, 24, 8, 1024], [1, 1, 1024, 256]))), [64, 64], "192 of 64 x 128");
  assert.equal(
    outputs(tileOf(nvidia, forward([32, 96, 32, 64], [3, 3, 64, 64], { padding: 1 }))),
    [128, 64],
    "64 filters",
  );
  assert.equal(outputs(tileOf(nvidia, forward([1, 24, 8, 64], [1, 1, 64, 512]))), [32, 32]);
  for (const vendor of VENDORS) {
    const { fill } = ladderOf(gpu(vendor));
    for (const batch of [1, 4, 32])
      for (const problem of shapes(batch).filter(({ gather }) => gather !== "weightGrad")) {
        const tile = tileOf(gpu(vendor), problem);
        const [rows, cols] = outputs(tile);
        const made = Math.ceil(problem.rows / rows) * Math.ceil(problem.cols / cols) * problem.groups;
        assert.ok(
          made >= fill || tile.splits > 1 || rows * cols <= 32 * 32,
          `${vendor}: ${made} workgroups for ${problemKey(problem)}`,
        );
      }
  }
});

test("a weight gradient is split until there is work for all, in whole slices and not into crumbs", () => {
  for (const vendor of VENDORS)
    for (const problem of [...shapes(1), ...shapes(48)].filter(({ gather }) => gather === "weightGrad")) {
      const profile = gpu(vendor);
      const tile = tileOf(profile, problem);
      const pixels = pixelsPerSplit(profile, problem, tileSize(tile));
      assert.is(pixels % tile.depth, 0);
      assert.ok(pixels >= Math.min(problem.inner, 16 * tile.depth), `${vendor}: ${pixels} for ${problemKey(problem)}`);
    }
  const layer1 = problems([48, 96, 32, 64], [1, 1, 64, 64]).find(({ gather }) => gather === "weightGrad")!;
  const tile = tileOf(gpu("nvidia"), layer1);
  assert.ok(
    layer1.inner / pixelsPerSplit(gpu("nvidia"), layer1, tileSize(tile)) > 100,
    "one tile of 64 x 64, and 147,456 pixels",
  );
});

test("a tuner may split the sum of a weight gradient otherwise", () => {
  const profile = gpu("nvidia");
  const tile = RUNGS["64x64, 8x4"];
  for (const problem of problems([8, 24, 8, 256], [1, 1, 256, 256])) {
    const found = neighbours(profile, problem, { kernel: "tiled", tile });
    const finer = found.filter((c) => c.kernel === "tiled" && c.tile.perUnit !== tile.perUnit);
    assert.is(finer.length, problem.gather === "weightGrad" ? 2 : 0, problem.gather);
    const pixels = finer.map((c) => pixelsPerSplit(profile, problem, tileSize(c.tile as WorkgroupTile)));
    assert.equal(pixels, problem.gather === "weightGrad" ? [256, 256] : []);
    for (const choice of finer) assert.match(describeChoice(choice), /, split for (1|4) a unit/);
  }
});

test("every rung fits what any adapter has, and none is taken that an adapter cannot hold", () => {
  const [problem] = shapes(1);
  for (const [name, rung] of Object.entries(RUNGS)) {
    const most = name === "128x128, 8x8, depth 16" ? 32768 : 16384;
    assert.ok(tileFits(gpu("nvidia", { workgroupBytes: most }), problem, rung), name);
    const named = /, depth \d+$/.test(name) ? `, depth ${rung.depth}` : "";
    assert.is(name, `${outputs(rung).join("x")}, ${rung.tm}x${4 * rung.tv}${named}`);
    assert.not.ok(tileFits(gpu("nvidia", { workgroupBytes: 1024 }), problem, rung), name);
  }
  const few = gpu("nvidia", { workgroupInvocations: 128 });
  for (const problem of shapes(32)) {
    const { lanesX, lanesY } = tileOf(few, problem);
    assert.ok(lanesX * lanesY <= 128);
  }
  const wide = of("weightGrad", [48, 24, 8, 1024], [1, 1, 1024, 256]);
  assert.equal(outputs(tileOf(gpu("nvidia", { workgroupBytes: 49152 }), wide)), [128, 128]);
  assert.equal(outputs(tileOf(gpu("nvidia"), wide)), [64, 64], "18 KiB that are not there");
});

/** Milliseconds on an H200 (26 November 2026) of some tiles, the best that there was among them. */
const MEASURED: readonly [string, ConvProblem, Readonly<Record<string, number>>][] = [
  [
    "1 x 1, 2048 to 512, batch 32",
    of("forward", [32, 24, 8, 2048], [1, 1, 2048, 512]),
    { "64x128, 8x8 each, depth 16": 0.329, "128x64, 8x8 each, depth 16": 0.336, "64x64, 8x4 each, depth 8": 0.387 },
  ],
  [
    "1 x 1, 512 to 2048, batch 48",
    of("forward", [48, 24, 8, 512], [1, 1, 512, 2048]),
    {
      "64x128, 8x8 each, depth 16": 0.491,
      "128x64, 8x8 each, depth 16": 0.504,
      "64x64, 8x4 each, depth 8": 0.531,
      "128x128, 8x8 each, depth 8": 0.622,
    },
  ],
  [
    "3 x 3, 64 to 64, batch 32",
    of("forward", [32, 96, 32, 64], [3, 3, 64, 64], { padding: 1 }),
    { "128x64, 8x8 each, depth 16": 0.208, "64x128, 8x8 each, depth 16": 0.383, "64x64, 8x4 each, depth 8": 0.221 },
  ],
  [
    "the stem, batch 32",
    of("forward", [32, 384, 128, 3], [7, 7, 3, 64], { stride: 2, padding: 3 }),
    { "64x64, 8x4 each, depth 8": 0.273, "128x64, 8x8 each, depth 16": 0.357, "64x64, 8x4 each, depth 16": 0.382 },
  ],
  [
    "1 x 1, 128 to 512, batch 32",
    of("forward", [32, 48, 16, 128], [1, 1, 128, 512]),
    { "64x64, 8x4 each, depth 8": 0.116, "64x128, 8x8 each, depth 16": 0.13 },
  ],
  [
    "1 x 1, 2048 to 512, batch 48",
    of("inputGrad", [48, 24, 8, 2048], [1, 1, 2048, 512]),
    {
      "64x128, 8x8 each, depth 8": 0.528,
      "64x128, 8x8 each, depth 16": 0.532,
      "128x64, 8x8 each, depth 16": 0.556,
      "64x64, 8x4 each, depth 8": 0.565,
    },
  ],
  [
    "1 x 1, 64 to 256, batch 48",
    of("inputGrad", [48, 96, 32, 64], [1, 1, 64, 256]),
    { "128x64, 8x8 each, depth 16": 0.147, "64x128, 8x8 each, depth 16": 0.26, "64x64, 8x4 each, depth 8": 0.163 },
  ],
  [
    "1 x 1, 1024 to 256, batch 48",
    of("weightGrad", [48, 24, 8, 1024], [1, 1, 1024, 256]),
    {
      "128x128, 8x8 each, depth 16": 0.128,
      "128x128, 8x8 each, depth 16, split for 4 a unit": 0.135,
      "64x128, 8x8 each, depth 16": 0.141,
    },
  ],
  [
    "1 x 1, 256 to 64, batch 48",
    of("weightGrad", [48, 96, 32, 256], [1, 1, 256, 64]),
    {
      "64x64, 8x8 each, depth 16, split for 4 a unit": 0.138,
      "64x64, 8x8 each, depth 16": 0.153,
      "128x128, 8x8 each, depth 16": 0.232,
    },
  ],
  [
    "stripes, 2048 to 512, batch 48",
    of("weightGrad", [48, 24, 8, 2048], [1, 1, 2048, 3072], { groups: 6, split: "rows" }),
    {
      "128x128, 16x8 each, depth 16": 0.463,
      "64x128, 8x8 each, depth 16, split for 4 a unit": 0.476,
      "128x128, 8x8 each, depth 16": 0.503,
    },
  ],
];

test("on NVIDIA what was measured to be the best is chosen, or what takes little more", () => {
  const profile = gpu("nvidia", { workgroupBytes: 49152, workgroupInvocations: 1024 });
  for (const [name, problem, times] of MEASURED) {
    const took = times[describeChoice(chooseConv(profile, problem)).replace("tiled ", "")];
    assert.ok(took, `${name}: ${describeChoice(chooseConv(profile, problem))}`);
    assert.ok(took <= 1.05 * Math.min(...Object.values(times)), `${name}: ${took} ms`);
  }
});

test("products too small for a tile, and all on adapters without room for one, take the register tile", () => {
  for (const vendor of VENDORS) {
    assert.is(chooseConv(gpu(vendor), forward([1, 1, 1, 64], [1, 1, 64, 751])).kernel, "registers");
    assert.is(chooseConv(gpu(vendor), forward([4, 24, 8, 64], [1, 1, 64, 1])).kernel, "registers");
    const cramped = gpu(vendor, { workgroupInvocations: 32 });
    assert.ok(shapes(4).every((problem) => chooseConv(cramped, problem).kernel === "registers"));
  }
});

test("software adapters take no kernel with barriers", () => {
  for (const vendor of ["mesa", "google", "nvidia"])
    for (const subgroupSize of [0, 8])
      for (const problem of shapes(4)) {
        const { kernel } = chooseConv(paperProfile({ vendor, subgroupSize }), problem);
        assert.is.not(kernel, "tiled");
        assert.ok(subgroupSize > 0 || kernel === "registers");
      }
});

test("a tuned choice is taken where it fits, whatever else is in the table", () => {
  const problem = forward([4, 24, 8, 64], [1, 1, 64, 128]);
  const key = problemKey(problem);
  const choice = { kernel: "tiled", tile: RUNGS["32x32, 2x4"] } as const;
  assert.equal(chooseConv(gpu("nvidia", { tuned: { [key]: choice } }), problem), choice);
  const usual = chooseConv(gpu("nvidia"), problem);
  const broken = [
    { kernel: "tiled", tile: {} },
    { kernel: "tiled", tile: { ...choice.tile, lanesX: 7 } },
    { kernel: "tiled", tile: { ...choice.tile, depth: 4 } },
    { kernel: "tiled", tile: { ...choice.tile, buffers: 64 } },
    { kernel: "registers", tile: { elem: 4, tv: 2, tm: 8, lanesX: 1024, lanesY: 4 } },
    { kernel: "registers", tile: { elem: 3, tv: 2, tm: 8, lanesX: 16, lanesY: 4 } },
    { kernel: "stationary", tile: { elem: 4, tv: 1, aElem: 4, chunk: 128, lanes: 32 } },
    { kernel: "winograd", tile: {} },
  ];
  for (const wrong of broken) assert.equal(chooseConv(gpu("nvidia", { tuned: { [key]: wrong } }), problem), usual);
  // A weight gradient's rows come in vec4: two rows an invocation cannot be made.
  const dw = problems([4, 24, 8, 64], [1, 1, 64, 128]).find(({ gather }) => gather === "weightGrad")!;
  const two = { kernel: "tiled", tile: RUNGS["32x32, 2x4"] };
  assert.is.not((chooseConv(gpu("nvidia", { tuned: { [problemKey(dw)]: two } }), dw).tile as WorkgroupTile).tm, 2);
});

test("problems that differ in what a kernel depends on have different names; nearby batches share one", () => {
  const x = [4, 24, 8, 64];
  const different = [
    ...problems(x, [1, 1, 64, 128]),
    ...problems(x, [3, 3, 64, 128], { padding: 1 }),
    ...problems(x, [3, 3, 64, 128], { padding: 1, stride: 2 }),
    ...problems(x, [1, 1, 32, 128], { groups: 2 }),
    ...problems([4, 24, 8, 66], [1, 1, 66, 128]),
  ];
  const keys = new Map(different.map((problem) => [JSON.stringify(problem), problemKey(problem)]));
  assert.is(new Set(keys.values()).size, keys.size);
  const at = (batch: number) => problems([batch, 24, 8, 64], [1, 1, 64, 128]).map(problemKey);
  assert.equal(at(32), at(40));
  assert.not.equal(at(4), at(32));
});

test("a choice that was tuned for float32 maps is taken for no float16 ones, nor the other way round", () => {
  const w = input("w", [1, 1, 64, 64]);
  const y = conv2d(conv2d(input("x", [4, 24, 8, 64]), w), w);
  const [dw] = gradients(sum(mul(y, y)), [w]);
  const lowered = (outputs: readonly Tensor[], tuned: DeviceProfile["tuned"]) => {
    const lowering = new Lowering(gpu("nvidia", { tuned }));
    lowering.lower(reachable(outputs));
    return lowering.launches.flatMap(({ problem, kernel }) =>
      problem ? [{ key: problemKey(problem as ConvProblem), shader: kernel.shader }] : [],
    );
  };
  const graphs = [[dw!], storeHalves([dw!])];
  const keys = graphs.map((graph) => lowered(graph, {}).map(({ key }) => key));
  assert.ok(keys[0].every((key) => !/f16/.test(key)));
  for (const stored of ["f16 c", "f16 a,c", "f16 b", "f16 a,b"])
    assert.ok(
      keys[1].some((key) => key.endsWith(` ${stored}`)),
      stored,
    );
  const registers = { kernel: "registers", tile: { elem: 4, tv: 1, tm: 8, lanesX: 16, lanesY: 4 } };
  for (const [i, own] of keys.entries()) {
    const tuned = Object.fromEntries(own.map((key) => [key, registers]));
    const shaders = (graph: readonly Tensor[]) => lowered(graph, tuned).map(({ shader }) => shader);
    assert.ok(shaders(graphs[i]).every((shader) => shader === "conv" || shader === "conv_weight_grad"));
    assert.ok(shaders(graphs[1 - i]).every((shader) => shader === "conv_tiled" || shader === "conv_weight_grad_tiled"));
  }
});

test("candidates fit, differ and include the plain kernel and what is chosen untuned", () => {
  const profiles = [...VENDORS.map((vendor) => gpu(vendor)), paperProfile({ subgroupSize: 8 }), paperProfile()];
  for (const profile of profiles)
    for (const problem of [...shapes(1), forward([1, 1, 1, 5], [1, 1, 5, 3])]) {
      const first = firstCandidates(profile, problem);
      const all = first.flatMap((choice) => [choice, ...neighbours(profile, problem, choice)]);
      for (const choice of all) assert.ok(choiceFits(profile, problem, choice), JSON.stringify(choice));
      const text = first.map((choice) => JSON.stringify(choice));
      assert.is(new Set(text).size, text.length);
      for (const must of [chooseConv(profile, problem), plainChoice(profile, problem)])
        assert.ok(text.includes(JSON.stringify(must)));
      assert.ok(all.length > 1, problemKey(problem));
    }
});

test.run();
