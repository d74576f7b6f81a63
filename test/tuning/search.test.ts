import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Device } from "#src/gpu/device.js";
import type { KernelSpec } from "#src/gpu/kernel.js";
import { input } from "#src/graph/tensor.js";
import { sameChoice } from "#src/ops/conv-candidates.js";
import { type ConvChoice, chooseConv, plainChoice } from "#src/ops/conv-choice.js";
import { RUNGS } from "#src/ops/conv-tiles.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { type TuningCase, tuneCase, tuningCases } from "#src/tuning/search.js";
import { closeDevice, sharedDevice } from "../support/op.js";

/** A convolution and its gradients, with as many terms under a tap as make a wrong depth of the tile visible. */
async function cases(): Promise<TuningCase[]> {
  const [x, w] = [input("x", [1, 8, 4, 32]), input("w", [1, 1, 32, 32])];
  const y = conv2d(x, w);
  const [dx, dw] = gradients(sum(mul(y, input("dy", y.shape))), [x, w]);
  return tuningCases(await sharedDevice(), [y, dx!, dw!, conv2d(x, w)]);
}

const tiled: ConvChoice = { kernel: "tiled", tile: RUNGS["32x32, 4x4"] };

test("each problem of a graph is a case once", async () => {
  const found = await cases();
  assert.equal(found.map(({ problem }) => problem.gather).sort(), ["forward", "inputGrad", "weightGrad"]);
});

test("all three gathers are verified and timed, and the device's choices stay what they were", async () => {
  const device = await sharedDevice();
  const tuned = { "forward of something else": { kernel: "tiled", tile: {} } };
  device.useTuned(tuned);
  const bytes = device.bufferBytes;
  for (const c of await cases()) {
    const { usual, winner, tried, refused } = await tuneCase(device, c, {
      rounds: 1,
      steps: 0,
      warn: assert.unreachable,
      candidates: ({ rows, cols, multiple }) => [plainChoice(device.profile, { rows, cols, multiple }), tiled],
    });
    assert.ok(tried >= 3, `${tried} candidates`);
    assert.equal(refused, []);
    assert.equal(usual.choice, chooseConv(device.profile, c.problem));
    assert.ok(winner.ms <= usual.ms && winner.ms > 0);
  }
  assert.equal(device.profile.tuned, tuned);
  assert.is(device.bufferBytes, bytes, "no buffer is left");
  device.useTuned(undefined);
});

/** The device, but kernels with workgroup memory are others than were asked for. */
function spoiled(device: Device, spoil: (spec: KernelSpec) => KernelSpec): Device {
  const kernels = Object.create(device.kernels, {
    get: { value: (spec: KernelSpec) => device.kernels.get(spec.shader.endsWith("_tiled") ? spoil(spec) : spec) },
  });
  return Object.assign(Object.create(device), { kernels });
}

test("the neighbours of the best are tried, too", async () => {
  const device = await sharedDevice();
  const [c] = await cases();
  const options = { rounds: 1, warn: assert.unreachable, candidates: () => [] };
  const few = await tuneCase(device, c, { ...options, steps: 0 });
  const more = await tuneCase(device, c, { ...options, steps: 1 });
  assert.is(few.tried, 1);
  assert.ok(more.tried > few.tried);
});

test("a candidate that computes something else is refused with a warning, however fast it is", async () => {
  const device = await sharedDevice();
  // It makes half of the rows of a tile.
  const half = spoiled(device, (spec) => ({ ...spec, overrides: { ...spec.overrides, LY: 4 } }));
  for (const c of await cases()) {
    const warnings: string[] = [];
    const { winner, refused } = await tuneCase(half, c, {
      rounds: 1,
      steps: 0,
      warn: (line) => warnings.push(line),
      candidates: () => [tiled],
    });
    assert.ok(refused.some(({ choice }) => sameChoice(choice, tiled)));
    assert.match(warnings[0], /tiled 32x32.*is refused: it is off by/);
    assert.is.not(winner.choice.kernel, "tiled");
  }
});

test("a candidate that does not compile is refused, and the rest goes on", async () => {
  const device = await sharedDevice();
  const broken = spoiled(device, (spec) => ({ ...spec, overrides: { NOTHING: 1 } }));
  const warnings: string[] = [];
  const { winner, refused } = await tuneCase(broken, (await cases())[0], {
    rounds: 1,
    steps: 0,
    warn: (line) => warnings.push(line),
    candidates: () => [tiled],
  });
  assert.is(refused.length, 1);
  assert.match(warnings[0], /is refused: it does not run/);
  assert.is.not(winner.choice.kernel, "tiled");
});

test("where a device has matrix units they are tried, and what wins is kept for such devices alone", async () => {
  const real = await sharedDevice();
  // The adapter has none, so that every kernel on them fails.
  const device = Object.assign(Object.create(real), {
    profile: { ...real.profile, subgroupSize: 8, matrixUnits: { components: "f16", size: 8 } },
  }) as Device;
  const [x, w] = [input("x", [1, 8, 4, 32]), input("w", [1, 1, 32, 32])];
  const [c] = tuningCases(device, [conv2d(x, w)]);
  const [without] = tuningCases(real, [conv2d(x, w)]);
  assert.is.not(c.key, without.key);
  const { usual, winner, refused } = await tuneCase(device, c, { rounds: 1, steps: 0, warn: () => {} });
  assert.equal(
    refused.map(({ choice }) => choice.kernel),
    ["matrix"],
  );
  assert.is.not(usual.choice.kernel, "matrix");
  assert.equal(chooseConv({ ...device.profile, tuned: { [c.key]: winner.choice } }, c.problem), winner.choice);
  assert.is(chooseConv({ ...device.profile, tuned: { [without.key]: winner.choice } }, c.problem).kernel, "matrix");
});

test.after(closeDevice);
test.run();
