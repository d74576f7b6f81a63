import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import type { KernelSpec } from "#src/gpu/kernel.js";
import { Lowering } from "#src/graph/lowering.js";
import type { Precision } from "#src/graph/storage.js";
import { input, reachable } from "#src/graph/tensor.js";
import { sameChoice } from "#src/ops/conv-candidates.js";
import {
  type ConvChoice,
  type ConvWay,
  chooseConv,
  pixelsOf,
  plainChoice,
  tunedKey,
  WINOGRAD,
} from "#src/ops/conv-choice.js";
import { RUNGS } from "#src/ops/conv-tiles.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { raggedCases, type TuningCase, tuningCases } from "#src/tuning/cases.js";
import { type TuningDevices, tuneCase } from "#src/tuning/search.js";
import { closeDevice, sharedDevice } from "../support/op.js";
import { paperUnits } from "../support/profile.js";

/** Whatever adapter it is, what it would choose untuned is no kernel with workgroup memory: those are for these tests to break. */
const asSoftware = (device: Device): Device => {
  device.profile = { ...device.profile, software: true, matrixUnits: undefined };
  return device;
};
const commonDevice = async () => asSoftware(await sharedDevice());

/** A convolution and its gradients, with as many terms under a tap as make a wrong depth of the tile visible. */
async function cases(precision?: Precision): Promise<TuningCase[]> {
  const [x, w] = [input("x", [1, 8, 4, 32]), input("w", [1, 1, 32, 32])];
  const y = conv2d(x, w);
  const [dx, dw] = gradients(sum(mul(y, input("dy", y.shape))), [x, w]);
  return tuningCases(await commonDevice(), [y, dx!, dw!, conv2d(x, w)], precision);
}

/** One device, or two, to verify and to time on. */
const on = (timing: Device, checking = timing): TuningDevices => ({ timing, checking });

const tiled: ConvChoice = { kernel: "tiled", tile: RUNGS["32x32, 4x4"] };

test("each problem of a graph is a case once", async () => {
  const found = await cases();
  assert.equal(found.map(({ problem }) => problem.gather).sort(), ["forward", "inputGrad", "weightGrad"]);
});

test("all three gathers are verified and timed, and the device's choices stay what they were", async () => {
  const device = await commonDevice();
  const tuned = { "forward of something else": { kernel: "tiled", tile: {} } };
  device.useTuned(tuned);
  const bytes = device.bufferBytes;
  for (const c of await cases()) {
    const { usual, winner, tried, refused } = await tuneCase(on(device), c, {
      rounds: 1,
      steps: 0,
      warn: assert.unreachable,
      candidates: ({ rows, cols, multiple }) => [plainChoice(device.profile, { rows, cols, multiple }), tiled],
    });
    assert.ok(tried.length >= 3, `${tried.length} candidates`);
    assert.ok(tried.every(({ ms }) => ms > 0));
    assert.equal(refused, []);
    assert.equal(usual.choice, chooseConv(device.profile, c.problem));
    assert.ok(winner.ms <= usual.ms && winner.ms > 0);
  }
  assert.equal(device.profile.tuned, tuned);
  assert.is(device.bufferBytes, bytes, "no buffer is left");
  device.useTuned(undefined);
});

test("maps in float16 are cases of their own, and what wins is what such a program takes", async () => {
  const device = await commonDevice();
  const w = input("w", [1, 1, 32, 32]);
  const y = conv2d(conv2d(input("x", [1, 8, 4, 32]), w), w);
  const graph = [gradients(sum(mul(y, y)), [w])[0]!];
  const usual = tuningCases(device, graph).map(({ key }) => key);
  const found = tuningCases(device, graph, "float16");
  assert.equal(found.map(({ problem }) => problem.halves.join()).sort(), ["a,b", "a,c", "a,c", "b", "c"]);
  for (const c of found) {
    assert.not.ok(usual.includes(c.key), c.key);
    const options = { rounds: 1, steps: 0, warn: assert.unreachable, candidates: () => [tiled] };
    const { winner, tried } = await tuneCase(on(device), c, options);
    assert.ok(tried.length >= 2, "every candidate is right");
    assert.equal(chooseConv({ ...device.profile, tuned: { [c.key]: winner.choice } }, c.problem), winner.choice);
  }
  const without = Object.assign(Object.create(device), { gpu: { features: new Set() } }) as Device;
  assert.throws(() => tuningCases(without, graph, "float16"), /cannot store float16/);
});

test("cases are ragged at an odd number of pixels and at an odd number of fours, under the same key", async () => {
  const { profile } = await commonDevice();
  const [x, w] = [input("x", [2, 12, 8, 16]), input("w", [3, 3, 16, 16])];
  const stripes = input("stripes", [1, 1, 16, 32]);
  for (const [map, weights, options] of [
    [x, w, { padding: 1 }],
    [x, w, { padding: 1, stride: 2 }],
    [x, stripes, { groups: 2, split: "rows" }],
    [input("rgb", [2, 32, 16, 3]), input("stem", [7, 7, 3, 8]), { stride: 2, padding: 3 }],
  ] as const) {
    const y = conv2d(map, weights, options);
    const graph = gradients(sum(mul(y, input("dy", y.shape))), [map, weights]);
    for (const precision of ["float32", "float16"] as const)
      for (const c of tuningCases(await commonDevice(), [y, ...graph.map((t) => t!)], precision)) {
        const ragged = raggedCases(profile, c);
        const odd = [c, ...ragged].map(({ problem }) => pixelsOf(problem));
        assert.ok(
          odd.some((n) => n % 2 === 1),
          `${c.key}: ${odd}`,
        );
        assert.ok(
          odd.some((n) => n % 8 === 4),
          `${c.key}: ${odd}`,
        );
        for (const { key, problem } of ragged) {
          assert.is(key, c.key);
          assert.is(tunedKey(profile, problem), c.key);
        }
      }
  }
  // A name that no other number of pixels shares.
  const [alone] = tuningCases(await commonDevice(), [conv2d(input("row", [1, 1, 1, 16]), input("w", [1, 1, 16, 16]))]);
  assert.equal(raggedCases(profile, alone), []);
});

test("a candidate that is wrong only where its last tile is ragged is refused before it is timed", async () => {
  const device = asSoftware(await Device.open());
  const { gpu } = device;
  const made = gpu.createShaderModule.bind(gpu);
  // It leaves out the rows of a last tile that is not whole: 32 rows are right, and the case has as many.
  gpu.createShaderModule = (given) =>
    made({ ...given, code: given.code.replaceAll(/(if \(row_of\d+ < params\.rows)\)/g, "$1 / 32u * 32u)") });
  try {
    for (const precision of ["float32", "float16"] as const) {
      const [c] = await cases(precision);
      assert.is(c.problem.rows, 32);
      const options = { rounds: 1, steps: 0, warn: () => {}, candidates: () => [tiled] };
      const { refused, winner } = await tuneCase(on(device), c, options);
      assert.is(refused.length, 1);
      assert.equal(refused[0].choice, tiled);
      assert.match(refused[0].why, /is off by .* at (3[3-9]|4\d) pixels/);
      assert.is.not(winner.choice.kernel, "tiled");
    }
  } finally {
    device.close();
  }
});

test("sums in parts are tried and verified as all else is", async () => {
  const [device, broken] = [await commonDevice(), asSoftware(await Device.open())];
  const { gpu } = broken;
  const made = gpu.createShaderModule.bind(gpu);
  // It leaves the last part out.
  gpu.createShaderModule = (given) =>
    made({ ...given, code: given.code.replaceAll(/(p \+ \du < params\.parts)/g, "$1 - 1u") });
  const parts: ConvChoice = { kernel: "tiled", tile: { ...RUNGS["32x32, 4x4"], splits: 2 } };
  const options = { rounds: 1, steps: 0, warn: () => {}, candidates: () => [parts] };
  try {
    for (const c of (await cases()).filter(({ problem }) => problem.gather !== "weightGrad")) {
      const right = await tuneCase(on(device), c, options);
      assert.equal(right.refused, []);
      assert.is(right.tried.length, 2);
      const wrong = await tuneCase(on(device, broken), c, options);
      assert.equal(
        wrong.refused.map(({ choice }) => choice),
        [parts],
      );
    }
  } finally {
    broken.close();
  }
});

test("candidates are verified on the device with index clamps, and timed on the other", async () => {
  const [real, clamped] = [await commonDevice(), asSoftware(await Device.open({ robust: true }))];
  try {
    const [c] = await cases();
    const half = (device: Device) => spoiled(device, (spec) => ({ ...spec, overrides: { ...spec.overrides, LY: 4 } }));
    const refused = async (devices: TuningDevices) => {
      const options = { rounds: 1, steps: 0, warn: () => {}, candidates: () => [tiled] };
      return (await tuneCase(devices, c, options)).refused.length;
    };
    const bytes = clamped.bufferBytes;
    assert.is(await refused(on(half(real), clamped)), 0);
    assert.is(await refused(on(real, half(clamped))), 1);
    assert.is(clamped.bufferBytes, bytes, "no buffer is left");
    const other = Object.assign(Object.create(clamped), {
      profile: { ...real.profile, subgroupSize: 8, matrixUnits: paperUnits(8, { lanes: 8 }) },
    }) as Device;
    let message = "";
    await tuneCase(on(real, other), c, { rounds: 1, warn: () => {} }).catch((error: Error) => {
      message = error.message;
    });
    assert.match(message, /is not verified on a device that calls it otherwise/);
  } finally {
    clamped.close();
  }
});

/** The device, but kernels with workgroup memory are others than were asked for. */
function spoiled(device: Device, spoil: (spec: KernelSpec) => KernelSpec): Device {
  const kernels = Object.create(device.kernels, {
    get: { value: (spec: KernelSpec) => device.kernels.get(spec.shader.endsWith("_tiled") ? spoil(spec) : spec) },
  });
  return Object.assign(Object.create(device), { kernels });
}

test("on GPUs the direct product is tried, too, where Winograd is chosen untuned", async () => {
  const real = await commonDevice();
  const nvidia = { software: false, vendor: "nvidia", workgroupBytes: 49152, matrixUnits: undefined, tuned: undefined };
  const profile = { ...real.profile, ...nvidia };
  const y = conv2d(input("x", [32, 24, 8, 256]), input("w", [3, 3, 256, 256]), { padding: 1 });
  const lowering = new Lowering(profile);
  lowering.lower(reachable([y]));
  assert.ok(lowering.launches.some(({ kernel }) => kernel.shader === "winograd_input"));
  const cases = tuningCases({ profile } as Device, [y]);
  assert.equal(
    cases.map(({ key, winograd, within }) => [key.split(" ").slice(0, 4).join(" "), winograd, within !== undefined]),
    [
      ["forward 2048x256 of 1x256", false, true],
      ["forward 8192x256 of 9x256", true, false],
    ],
  );
});

test("on GPUs Winograd is tried, its product first, and taken where it won", async () => {
  const real = await commonDevice();
  const gpu = () =>
    Object.assign(Object.create(real), { profile: { ...real.profile, software: false, vendor: "nvidia" } }) as Device;
  const device = gpu();
  const [x, w] = [input("x", [2, 8, 6, 64]), input("w", [3, 3, 64, 72])];
  const y = conv2d(x, w, { padding: 1 });
  const graph = [y, ...gradients(sum(mul(y, input("dy", y.shape))), [x, w]).map((t) => t!), conv2d(x, w)];
  const found = tuningCases(device, graph);
  const gathers = found.map(({ problem: { gather, groups }, winograd }) => `${gather} ${groups} ${winograd}`);
  assert.equal(gathers, [
    "forward 16 false",
    "forward 1 true",
    "forward 16 false",
    "inputGrad 1 true",
    "weightGrad 16 false",
    "weightGrad 1 true",
    // Without padding there are no whole squares.
    "forward 1 false",
  ]);
  const bytes = device.bufferBytes;
  const options = { rounds: 1, steps: 0, warn: assert.unreachable, candidates: () => [tiled] };
  const choices: Record<string, ConvWay> = {};
  for (const c of found.slice(0, 6)) {
    const { winner, tried, refused } = await tuneCase(on(device), c, options);
    assert.equal(refused, []);
    // The usual rung is this one for some of them.
    assert.ok(tried.length >= 1 + Number(c.winograd));
    assert.ok(raggedCases(device.profile, c).length > 0, `${c.key} is verified where its tiles are ragged`);
    choices[c.key] = c.winograd ? WINOGRAD : winner.choice;
  }
  assert.is(device.bufferBytes, bytes, "no buffer is left");
  // What is tuned so already poses the same problems again.
  device.useTuned(choices);
  assert.equal(
    tuningCases(device, graph).map(({ key }) => key),
    found.map(({ key }) => key),
  );
  // On its product the wrong tile is refused, as anywhere.
  const half = spoiled(gpu(), (spec) => ({ ...spec, overrides: { ...spec.overrides, LY: 4 } }));
  const { refused } = await tuneCase(on(half), found[0], { ...options, warn: () => {} });
  assert.ok(refused.some(({ choice }) => sameChoice(choice, tiled)));
  assert.equal(
    tuningCases(real, graph).filter(({ winograd }) => winograd),
    [],
  );
});

test("the neighbours of the best are tried, too", async () => {
  const device = await commonDevice();
  const [c] = await cases();
  const options = { rounds: 1, warn: assert.unreachable, candidates: () => [] };
  const few = await tuneCase(on(device), c, { ...options, steps: 0 });
  const more = await tuneCase(on(device), c, { ...options, steps: 1 });
  assert.is(few.tried.length, 1);
  assert.ok(more.tried.length > few.tried.length);
});

test("a candidate that computes something else is refused with a warning, however fast it is", async () => {
  const device = await commonDevice();
  // It makes half of the rows of a tile.
  const half = spoiled(device, (spec) => ({ ...spec, overrides: { ...spec.overrides, LY: 4 } }));
  for (const c of await cases()) {
    const warnings: string[] = [];
    const { winner, refused } = await tuneCase(on(half), c, {
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
  const device = await commonDevice();
  const broken = spoiled(device, (spec) => ({ ...spec, overrides: { NOTHING: 1 } }));
  const warnings: string[] = [];
  const { winner, refused } = await tuneCase(on(broken), (await cases())[0], {
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
  const real = await commonDevice();
  // The adapter has none, so that every kernel on them fails.
  const device = Object.assign(Object.create(real), {
    profile: { ...real.profile, subgroupSize: 8, matrixUnits: paperUnits(8, { lanes: 8 }) },
  }) as Device;
  const [x, w] = [input("x", [1, 8, 4, 32]), input("w", [1, 1, 32, 32])];
  const [c] = tuningCases(device, [conv2d(x, w)]);
  const [without] = tuningCases(real, [conv2d(x, w)]);
  assert.is.not(c.key, without.key);
  const { usual, winner, refused } = await tuneCase(on(device), c, { rounds: 1, steps: 0, warn: () => {} });
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
