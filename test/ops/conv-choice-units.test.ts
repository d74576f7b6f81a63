/** Which tile makes a product on matrix units. Makes no GPU object. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { DeviceProfile } from "#src/gpu/device.js";
import { type ConvChoice, type ConvProblem, chooseConv, problemKey, tunedKey } from "#src/ops/conv-choice.js";
import {
  MATRIX_RUNGS,
  type MatrixTile,
  matrixFits,
  type SubgroupTile,
  unitSize,
  usableUnits,
} from "#src/ops/conv-matrix.js";
import { pixelsPerSplit, RUNGS } from "#src/ops/conv-tiles.js";
import { WIDE_RUNGS, wideFits } from "#src/ops/conv-wide.js";
import { forward, gpu, problems, shapes, VENDORS } from "../support/conv-problems.js";
import { paperUnits } from "../support/profile.js";

const matrixTileOf = (profile: DeviceProfile, problem: ConvProblem) => {
  const choice = chooseConv(profile, problem);
  assert.is(choice.kernel, "matrix", problemKey(problem));
  return choice.tile as MatrixTile;
};

test("matrix units make wide products where a device was opened for them, and nothing else", () => {
  const units = { matrixUnits: paperUnits(16) };
  const found = problems([4, 24, 8, 64], [1, 1, 64, 128]);
  const kernel = (given: Partial<DeviceProfile>, problem = found[0]) => chooseConv(gpu("amd", given), problem).kernel;
  for (const problem of found) {
    assert.is(kernel(units, problem), "matrix");
    assert.is(kernel({}, problem), "tiled");
    assert.is.not(kernel({ ...units, workgroupBytes: 4096 }, problem), "matrix");
  }
  for (const problem of problems([4, 24, 8, 64], [1, 1, 64, 16]).filter(({ cols }) => cols === 16))
    assert.is(kernel(units, problem), "tiled", "few filters");
  // Elements of f32 take twice the memory.
  const large = forward([32, 24, 8, 64], [1, 1, 64, 256]);
  const rows = (components: "f16" | "f32") =>
    unitSize(matrixTileOf(gpu("apple", { matrixUnits: paperUnits(8, { components }) }), large)).rows;
  assert.equal([rows("f16"), rows("f32")], [64, 32]);
});

test("of the tiles for matrix units the largest is taken that is used and fills the machine", () => {
  const on = (vendor: string, given: Partial<DeviceProfile> = {}) =>
    gpu(vendor, { matrixUnits: paperUnits(16), workgroupBytes: 49152, ...given });
  const chosen = (profile: DeviceProfile, ...args: Parameters<typeof problems>) =>
    problems(...args).map((problem) => {
      const { rows, cols } = unitSize(matrixTileOf(profile, problem));
      return `${problem.gather} ${rows}x${cols}`;
    });
  assert.equal(
    chosen(on("amd"), [32, 24, 8, 512], [3, 3, 512, 512], { padding: 1 })[0],
    "forward 128x64",
    "192 of twice as many would be one and a half rounds",
  );
  assert.equal(chosen(on("amd"), [48, 24, 8, 512], [3, 3, 512, 512], { padding: 1 }), [
    "forward 128x128",
    "inputGrad 128x128",
    "weightGrad 128x128",
  ]);
  assert.equal(chosen(on("amd"), [32, 96, 32, 64], [1, 1, 64, 64]), [
    "forward 128x64",
    "inputGrad 128x64",
    "weightGrad 64x64",
  ]);
  assert.equal(chosen(on("amd"), [1, 24, 8, 64], [1, 1, 64, 512])[0], "forward 32x32");
  const intel = on("intel", { matrixUnits: paperUnits(8, { n: 16, k: 16, lanes: 16 }) });
  assert.equal(chosen(intel, [32, 24, 8, 512], [1, 1, 512, 512])[0], "forward 64x64");
  for (const vendor of VENDORS)
    for (const problem of [...shapes(4), ...shapes(32)].map((given) => ({ ...given, eights: false }))) {
      const profile = on(vendor, { workgroupBytes: 16384, workgroupInvocations: 128 });
      assert.ok(matrixFits(profile, problem, matrixTileOf(profile, problem)), problemKey(problem));
    }
});

test("a weight gradient on matrix units is split as others are", () => {
  const profile = gpu("amd", { matrixUnits: paperUnits(16), workgroupBytes: 49152 });
  for (const problem of shapes(48).filter(({ gather }) => gather === "weightGrad")) {
    const size = unitSize(matrixTileOf(profile, problem));
    const pixels = pixelsPerSplit(profile, problem, size);
    assert.is(pixels % size.depth, 0);
    assert.ok(pixels >= Math.min(problem.inner, 16 * size.depth), `${pixels} for ${problemKey(problem)}`);
  }
});

test("every tile for matrix units fits an adapter of today with f16, and no broken one fits any", () => {
  const problem = forward([4, 24, 8, 64], [1, 1, 64, 128]);
  const profile = gpu("amd", { matrixUnits: paperUnits(16), workgroupBytes: 49152 });
  for (const [name, rung] of Object.entries(MATRIX_RUNGS)) {
    assert.ok(matrixFits(profile, problem, rung), name);
    assert.not.ok(matrixFits({ ...profile, workgroupBytes: 2048 }, problem, rung), name);
    assert.not.ok(matrixFits({ ...profile, matrixUnits: undefined }, problem, rung), name);
    assert.not.ok(matrixFits({ ...profile, matrixUnits: paperUnits(16, { lanes: 64 }) }, problem, rung), "64 lanes");
  }
  const usual = chooseConv(profile, problem);
  const key = tunedKey(profile, problem);
  const rung = MATRIX_RUNGS["64x64 by 4"];
  const other: ConvChoice = { kernel: "matrix", tile: { ...rung, prefetch: 0 } };
  assert.equal(chooseConv({ ...profile, tuned: { [key]: other } }, problem), other);
  for (const broken of [
    { subgroupsX: 3 },
    { rows: 24 },
    { rows: 8 },
    { cols: 0 },
    { depth: 8 },
    { depth: 33 },
    { prefetch: 2 },
  ])
    assert.equal(
      chooseConv({ ...profile, tuned: { [key]: { kernel: "matrix", tile: { ...rung, ...broken } } } }, problem),
      usual,
      JSON.stringify(broken),
    );
  assert.equal(chooseConv({ ...profile, tuned: { [key]: { kernel: "matrix", tile: {} } } }, problem), usual);
});

test("NVIDIA's units, which turn what they load, make what lies in eights otherwise", () => {
  const profile = gpu("nvidia", { matrixUnits: paperUnits(16), workgroupBytes: 49152 });
  const chosen = (...args: Parameters<typeof problems>) =>
    problems(...args).map((problem) => {
      const { kernel, tile } = chooseConv(profile, problem);
      assert.is(kernel, "wide", problemKey(problem));
      const { rows, cols } = unitSize(tile as SubgroupTile);
      return `${problem.gather} ${rows}x${cols}`;
    });
  // The largest only for long sums of very many tiles.
  assert.equal(chosen([48, 24, 8, 2048], [1, 1, 2048, 3072]), [
    "forward 256x128",
    "inputGrad 256x128",
    "weightGrad 128x128",
  ]);
  assert.equal(chosen([48, 24, 8, 256], [1, 1, 256, 1024])[0], "forward 128x128");
  assert.equal(chosen([32, 24, 8, 256], [3, 3, 256, 256], { padding: 1 })[0], "forward 128x128");
  assert.equal(chosen([32, 96, 32, 64], [3, 3, 64, 64], { padding: 1 })[0], "forward 128x64");
  const [odd] = problems([32, 24, 8, 252], [1, 1, 252, 256]);
  assert.is(chooseConv(profile, odd).kernel, "matrix", "channels that are no eights");
  const [problem] = problems([48, 24, 8, 256], [1, 1, 256, 1024]);
  for (const other of [paperUnits(16, { components: "f32" }), undefined])
    assert.is.not(chooseConv({ ...profile, matrixUnits: other }, problem).kernel, "wide");
  for (const [name, rung] of Object.entries(WIDE_RUNGS)) {
    assert.ok(wideFits(profile, problem, rung), name);
    assert.not.ok(wideFits({ ...profile, workgroupBytes: 2048 }, problem, rung), name);
    for (const broken of [{ subgroupsX: 3 }, { rows: 24 }, { cols: 0 }, { depth: 8 }, { depth: 128 }, { perUnit: 4 }])
      assert.not.ok(wideFits(profile, problem, { ...rung, ...broken }), `${name} ${JSON.stringify(broken)}`);
  }
});

test("no choice that was tuned without matrix units is taken on a device that has them, where they make the product", () => {
  const on = gpu("amd", { matrixUnits: paperUnits(16) });
  const few = problems([4, 24, 8, 64], [1, 1, 64, 16])[0];
  const tiled = { kernel: "tiled", tile: RUNGS["64x64, 4x4"] } as const;
  for (const problem of problems([4, 24, 8, 64], [1, 1, 64, 128])) {
    const choose = (profile: DeviceProfile, key: string) =>
      chooseConv({ ...profile, tuned: { [key]: tiled } }, problem);
    assert.equal(choose(gpu("amd"), tunedKey(gpu("amd"), problem)), tiled);
    assert.is(choose(on, tunedKey(gpu("amd"), problem)).kernel, "matrix");
    assert.equal(choose(on, tunedKey(on, problem)), tiled, "the tuner had compared it with the units");
    for (const other of [paperUnits(8), paperUnits(16, { k: 8 }), paperUnits(16, { components: "f32" })])
      assert.is.not(tunedKey({ ...on, matrixUnits: other }, problem), tunedKey(on, problem), "those of other units");
    assert.is(tunedKey({ ...on, workgroupBytes: 4096 }, problem), problemKey(problem), "idle units");
  }
  // What the units cannot make is tuned once.
  assert.is(tunedKey(on, few), problemKey(few));
});

test("units are of use where a tile fits the device", () => {
  const units = paperUnits(16);
  assert.is(usableUnits(gpu("nvidia")), undefined);
  assert.is(usableUnits(gpu("nvidia", { matrixUnits: units })), units);
  assert.is(usableUnits(gpu("amd", { matrixUnits: units, subgroupSize: 0 })), units, "subgroups of the size asked for");
  for (const less of [
    { matrixUnits: paperUnits(16, { lanes: 64 }) },
    { workgroupBytes: 4096 },
    { workgroupInvocations: 32 },
  ])
    assert.is(usableUnits(gpu("nvidia", { matrixUnits: units, ...less })), undefined, JSON.stringify(less));
});

test.run();
