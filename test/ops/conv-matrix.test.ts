/**
 * The kernels on matrix units. They run on whatever adapter has subgroups of one size, whose units are emulated where they are not
 * those wanted. All numbers are small integers, of which halves and sums round none, so that every element must be the plain kernel's.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device, type MatrixUnits } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import type { Precision } from "#src/graph/storage.js";
import { input } from "#src/graph/tensor.js";
import { type ConvChoice, plainChoice } from "#src/ops/conv-choice.js";
import { MATRIX_RUNGS, type MatrixTile, matrixFits, usableUnits } from "#src/ops/conv-matrix.js";
import { conv2d } from "#src/ops/index.js";
import { seededRng, uniform } from "#src/random.js";
import { CONV_CASES } from "../support/conv-cases.js";
import { forced } from "../support/forced.js";
import {
  assertRuns,
  assertSame,
  chainGraph,
  type Graph,
  gradientGraph,
  inferenceGraph,
  runIntegers as run,
} from "../support/integer-products.js";
import { emulateMatrixUnits } from "../support/matrix-emulation.js";
import { relativeError } from "../support/op.js";
import { paperUnits } from "../support/profile.js";
import type { ConvCase } from "../support/reference/conv.js";

type Shape = Omit<MatrixUnits, "lanes">;

/** Devices by the units that they have. Index clamps, which would double what compiling takes, are in conv-matrix-rounding.test.ts. */
const opened = new Map<string, Promise<Device>>();

/** @param units those wanted; by default the adapter's own, or where it has none matrices of 8 x 8 */
function deviceWith(units: Shape | "own" | "none"): Promise<Device> {
  const open = async () => {
    const device = await Device.open({ robust: "default", matrixUnits: true });
    const own = usableUnits(device.profile);
    // As on a GPU, so that no other kernel is preferred.
    device.profile = { ...device.profile, software: false };
    if (units === "none") device.profile = { ...device.profile, matrixUnits: undefined };
    else if (units !== "own") emulateMatrixUnits(device, units);
    else if (!own) emulateMatrixUnits(device, paperUnits(8));
    return device;
  };
  const name = JSON.stringify(units);
  if (!opened.has(name)) opened.set(name, open());
  return opened.get(name)!;
}

test.after(async () => {
  for (const device of opened.values()) (await device).close();
});

interface Given {
  /** The adapter's own by default. */
  readonly units?: Shape;
  /** What is other than in `small`. */
  readonly tile?: Partial<MatrixTile>;
  readonly precision?: Precision;
  readonly graph?: () => Graph;
  /** What has to run. */
  readonly shaders?: readonly string[];
  /** On an adapter with no more workgroup memory than the tile needs. */
  readonly cramped?: boolean;
}

/**
 * A tile that is little to compile: emulated on a software adapter, whose subgroups have 8 lanes, larger ones take minutes. It loads
 * nothing early, which makes for half of the text.
 */
const small = ({ lanes, m }: MatrixUnits): MatrixTile => ({
  ...MATRIX_RUNGS["32x32 by 2"],
  ...(lanes === 8 && { subgroupsY: 2, subgroupsX: 1, rows: m, cols: 16, depth: 16 }),
  prefetch: 0,
});

/** Every element against the kernel without workgroup memory. */
function check(
  name: string,
  c: ConvCase,
  {
    units,
    tile: changed = {},
    precision = "float32",
    graph = () => gradientGraph(c),
    shaders = ["conv_matrix", "conv_weight_grad_matrix"],
    cramped = false,
  }: Given = {},
) {
  test(name, async () => {
    const [device, plain] = [await deviceWith(units ?? "own"), await deviceWith("none")];
    const before = device.profile;
    const tile = { ...small(before.matrixUnits!), ...changed };
    const choice: ConvChoice = { kernel: "matrix", tile };
    try {
      let { workgroupBytes } = before;
      while (cramped && matrixFits({ ...before, workgroupBytes: workgroupBytes - 256 }, { gather: "weightGrad" }, tile))
        workgroupBytes -= 256;
      device.profile = { ...before, workgroupBytes, tuned: forced(choice) };
      assert.ok(matrixFits(device.profile, { gather: "weightGrad" }, tile), "the tile is one that can be made");
      const outputs = graph();
      assertRuns(device, outputs, precision, shaders);
      const actual = await run(device, outputs, precision);
      plain.useTuned(forced(plainChoice(plain.profile, { rows: 1, cols: 1, multiple: 1 })));
      assertSame(outputs, actual, await run(plain, outputs, precision));
    } finally {
      device.profile = before;
    }
  });
}

const wide: ConvCase = { x: [1, 13, 12, 36], kernel: [1, 1], filters: 132 };
const taps: ConvCase = { x: [2, 7, 6, 36], kernel: [3, 3], filters: 40, padding: [1, 1] };

// Every rung as it is where the adapter has units for it, else its subgroups with less to do for each.
const adapter = await Device.open({ matrixUnits: true });
for (const [name, rung] of Object.entries(MATRIX_RUNGS)) {
  const whole = matrixFits(adapter.profile, { gather: "weightGrad" }, rung);
  check(`rung ${name}`, wide, {
    tile: whole ? rung : { ...rung, rows: 16, cols: adapter.profile.matrixUnits?.n ?? 8 },
  });
}
adapter.close();

const KINDS = {
  "16x16x16": paperUnits(16),
  "8x8x8 of f32": paperUnits(8, { components: "f32" }),
  "8x16x16, as Intel has them": paperUnits(8, { n: 16, k: 16 }),
  "16x8x16, as NVIDIA has them": paperUnits(16, { n: 8 }),
};
for (const [name, units] of Object.entries(KINDS)) check(`${name}, 3 x 3`, taps, { units });
check("sums that leave one matrix at a time", wide, { tile: { cols: 32 }, cramped: true });

// Those that need no kernels of their own, which take long to compile on emulated units.
for (const name of [
  "2 x 2, stride 3: pixels that no output sees",
  "3 x 5, strides and paddings that differ",
  "1 channel, 1 filter",
  "1 pixel, all of the kernel but its centre in the padding",
  "odd channels, wide",
  "2 groups of odd channels, 3 x 3",
  "3 stripes of rows",
  "2 stripes of rows, 3 x 3, stride 2",
])
  check(name, CONV_CASES[name]);
check("prefetch, 3 x 3", taps, { tile: { prefetch: 1 } });
check("3 x 3, stride 2, odd sizes, more than a tile of channels", {
  x: [2, 9, 7, 40],
  kernel: [3, 3],
  filters: 36,
  stride: [2, 2],
  padding: [1, 1],
});
check("7 x 7, stride 2, folded taps, odd filters", {
  x: [2, 20, 13, 3],
  kernel: [7, 7],
  filters: 33,
  stride: [2, 2],
  padding: [3, 3],
});
check("odd channels, 3 x 3, more than a tile of both", {
  x: [2, 5, 6, 35],
  kernel: [3, 3],
  filters: 37,
  padding: [1, 1],
});
check("vec4 of one operand alone", { x: [2, 5, 4, 8], kernel: [1, 1], filters: 39 });
check("3 groups of channels, more than a tile of filters each", {
  x: [2, 5, 4, 12],
  kernel: [1, 1],
  filters: 120,
  groups: 3,
});
check(
  "a weight gradient whose sum is split",
  { x: [2, 24, 23, 8], kernel: [3, 3], filters: 8, padding: [1, 1] },
  { shaders: ["conv_weight_grad_matrix", "sum_partials"] },
);

// The sum of a weight gradient is split otherwise.
for (const [name, c, tile] of [
  // 27 slices, in parts of seven, and one of six.
  ["3 x 3", taps, { splits: 4 }],
  ["prefetch, 1 x 1, 3 slices", wide, { splits: 2, prefetch: 1 }],
  [
    "odd channels, groups, stride 2",
    { ...taps, x: [2, 7, 6, 70], filters: 66, groups: 2, stride: [2, 2] },
    { splits: 2 },
  ],
] as const)
  check(`sums in parts, ${name}`, c, {
    tile,
    graph: () => {
      const { y, dx } = gradientGraph(c);
      return { y, dx };
    },
    shaders: ["conv_matrix", "conv_parts"],
  });

const twoConvs = (kernel: number, channels: number) => chainGraph(kernel, [channels, 38, 33]);
for (const [kernel, channels] of [
  [1, 35],
  [3, 8],
])
  check(`maps in float16, ${kernel} x ${kernel} of ${channels}`, taps, {
    precision: "float16",
    graph: () => twoConvs(kernel, channels),
  });

for (const channels of [36, 35])
  for (const kernel of [1, 3])
    check(`${kernel} x ${kernel} of ${channels} channels with an epilogue`, taps, {
      graph: () => inferenceGraph(channels, kernel),
      shaders: ["conv_matrix"],
    });
check("sums in parts, with an epilogue", taps, {
  tile: { splits: 4 },
  graph: () => inferenceGraph(36, 3),
  shaders: ["conv_matrix", "conv_parts"],
});
check("sums in parts, maps in float16", taps, {
  tile: { splits: 2 },
  precision: "float16",
  graph: () => ({ y: twoConvs(3, 8).y }),
  shaders: ["conv_matrix", "conv_parts"],
});

test("kernels that ask for the size of their subgroups make the same", async () => {
  const device = await deviceWith("own");
  // Without the feature no such kernel is made.
  if (!device.gpu.features.has("subgroup-size-control" as GPUFeatureName)) {
    assert.ok(device.profile.subgroupSize > 0, "and none is needed");
    return;
  }
  const before = device.profile;
  device.useTuned(forced({ kernel: "matrix", tile: small(before.matrixUnits!) }));
  const usual = await run(device, gradientGraph(wide), "float32");
  device.profile = { ...device.profile, subgroupSize: 0 };
  const asked = await run(device, gradientGraph(wide), "float32");
  for (const key of Object.keys(usual)) assert.equal(asked[key], usual[key]);
  device.profile = before;
});

test("operands are rounded to halves, and sums are not", async () => {
  const device = await deviceWith("own");
  assert.is(usableUnits(device.profile)?.components, "f16");
  const [x, w] = [input("x", [1, 8, 8, 64]), input("w", [1, 1, 64, 64])];
  const program = await Program.compile(device, { outputs: { y: conv2d(x, w) } });
  const rng = seededRng(1);
  const drawn = (count: number) => Float32Array.from({ length: count }, () => uniform(rng, -1, 1));
  const feeds = { x: drawn(x.size), w: drawn(w.size) };
  const { y } = await program.run(feeds, ["y"]);
  program.destroy();
  const exact = new Float64Array(y.length).map((_, at) => {
    let total = 0;
    for (let i = 0; i < 64; i++) total += feeds.x[64 * Math.floor(at / 64) + i] * feeds.w[64 * i + (at % 64)];
    return total;
  });
  const error = relativeError(y, exact);
  // A half holds 11 bits; sums of halves would be off by some 2e-3.
  assert.ok(error > 5e-5 && error < 5e-4, `off by ${error}`);
});

test.run();
