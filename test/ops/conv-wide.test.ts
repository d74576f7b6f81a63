/**
 * The kernels on matrix units that turn what they load, emulated where the adapter has none. All numbers are small integers, of which halves
 * and sums round none, so that every element must be the plain kernel's.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { type Precision, storeRounded } from "#src/graph/storage.js";
import { Block, input, reachable, variable } from "#src/graph/tensor.js";
import { type ConvChoice, plainChoice } from "#src/ops/conv-choice.js";
import type { SubgroupTile } from "#src/ops/conv-matrix.js";
import { WIDE_RUNGS } from "#src/ops/conv-wide.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { forced } from "../support/forced.js";
import {
  assertRuns,
  assertSame,
  chainGraph,
  type Graph,
  gradientGraph,
  inferenceGraph,
  integers,
  runIntegers as run,
} from "../support/integer-products.js";
import { emulateMatrixUnits } from "../support/matrix-emulation.js";
import { paperUnits } from "../support/profile.js";
import { type ConvCase, weightShape } from "../support/reference/conv.js";

const device = await Device.open({ robust: "default", matrixUnits: true });
const own = device.profile.matrixUnits?.components === "f16";
if (!own) emulateMatrixUnits(device, paperUnits(8));
const before = { ...device.profile, software: false, vendor: "nvidia" };
const { lanes } = before.matrixUnits!;

/** Little to compile where units are emulated: matrices are of 8 x 8, and there are two subgroups. */
const small: SubgroupTile = own
  ? WIDE_RUNGS["32x64 by 2"]
  : { subgroupsY: 2, subgroupsX: 1, rows: 8, cols: 16, depth: 16, perUnit: 2, splits: 1 };

interface Given {
  /** What is other than in `small`. */
  readonly tile?: Partial<SubgroupTile>;
  readonly precision?: Precision;
  readonly graph?: () => Graph;
  /** What has to run. */
  readonly shaders?: readonly string[];
}

function check(
  name: string,
  c: ConvCase,
  {
    tile = {},
    precision = "float32",
    graph = () => gradientGraph(c),
    shaders = ["conv_wide", "conv_weight_grad_wide"],
  }: Given = {},
) {
  test(name, async () => {
    const choice: ConvChoice = { kernel: "wide", tile: { ...small, ...tile } };
    const outputs = graph();
    device.profile = { ...before, tuned: forced(choice) };
    assertRuns(device, outputs, precision, shaders);
    const actual = await run(device, outputs, precision);
    const plain = plainChoice(before, { rows: 1, cols: 1, multiple: 1 });
    device.profile = { ...before, matrixUnits: undefined, tuned: forced(plain) };
    assertSame(outputs, actual, await run(device, outputs, precision));
  });
}

const pointwise: ConvCase = { x: [1, 13, 12, 40], kernel: [1, 1], filters: 136 };
const taps: ConvCase = { x: [2, 7, 6, 40], kernel: [3, 3], filters: 24, padding: [1, 1] };

check("1 x 1, more than a tile of rows and of columns, ragged slices", pointwise);
check("3 x 3, ragged everywhere", taps);
check("depth 32", { ...pointwise, x: [1, 6, 7, 72] }, { tile: { depth: 32 } });
check("subgroups side by side, matrices below and beside each other", pointwise, {
  tile: { subgroupsY: 1, subgroupsX: 2, rows: 16, cols: 16, depth: 32 },
});
check("3 x 3, stride 2, odd sizes", {
  x: [2, 9, 7, 40],
  kernel: [3, 3],
  filters: 48,
  stride: [2, 2],
  padding: [1, 1],
});
check("3 groups of channels", { x: [2, 5, 4, 24], kernel: [1, 1], filters: 120, groups: 3 });
check("3 stripes of rows", { x: [2, 9, 4, 16], kernel: [1, 1], filters: 48, groups: 3, split: "rows" });
check(
  "a weight gradient whose sum is split",
  { x: [2, 24, 23, 8], kernel: [3, 3], filters: 8, padding: [1, 1] },
  { shaders: ["conv_weight_grad_wide", "sum_partials"] },
);
for (const [name, c, precision] of [
  ["3 x 3", taps, "float32"],
  ["1 x 1, maps in float16", pointwise, "float16"],
] as const)
  check(`sums in parts, ${name}`, c, {
    tile: { splits: 2 },
    precision,
    graph: () => {
      const { y, dx } = gradientGraph(c);
      return { y, dx };
    },
    shaders: ["conv_wide", "conv_parts"],
  });

for (const [kernel, channels] of [
  [1, 40],
  [3, 8],
])
  check(`maps in float16, ${kernel} x ${kernel}`, taps, {
    precision: "float16",
    graph: () => chainGraph(kernel, [channels, 40, 24]),
  });

for (const kernel of [1, 3])
  for (const precision of ["float32", "float16"] as const)
    check(`${kernel} x ${kernel} with an epilogue, ${precision}`, taps, {
      precision,
      graph: () => inferenceGraph(40, kernel),
      shaders: ["conv_wide"],
    });

test("weights that are variables come as halves, one copy for all that read them", async () => {
  const c: ConvCase = { x: [2, 7, 6, 40], kernel: [3, 3], filters: 24, padding: [1, 1] };
  const shape = weightShape(c);
  const size = shape.reduce((a, b) => a * b);
  const block = new Block("weights");
  block.bytes = 4 * size;
  block.buffer = device.buffer(block.label, block.bytes, 0x8c);
  device.gpu.queue.writeBuffer(block.buffer, 0, integers(size, 2));
  const [x, w] = [input("x", c.x), variable("w", shape, block, 0)];
  const y = conv2d(x, w, c);
  const [dx] = gradients(sum(mul(y, input("dy", y.shape))), [x]);
  const outputs = { y, dx: dx! };
  const nodes = () => reachable(storeRounded(Object.values(outputs), device.profile));
  const casts = () => nodes().filter(({ op }) => op.name === "cast").length;
  device.profile = { ...before, tuned: forced({ kernel: "wide", tile: small }) };
  assert.is(casts(), 1);
  const lowering = new Lowering(device.profile);
  lowering.lower(nodes());
  const products = lowering.launches.filter(({ kernel }) => kernel.shader === "conv_wide");
  assert.equal(
    products.map(({ kernel: { defines } }) => [defines?.HALF_B, defines?.TURNED]),
    [
      [true, false],
      [true, true],
    ],
  );
  const actual = await run(device, outputs, "float32");
  device.profile = { ...before, tuned: forced(plainChoice(before, { rows: 1, cols: 1, multiple: 1 })) };
  assert.is(casts(), 0, "kernels that round nothing are given what is stored");
  const expected = await run(device, outputs, "float32");
  for (const key of ["y", "dx"]) assert.equal(actual[key], expected[key]);
  device.release(block.buffer);
});

test("channels that are no eights are left to others", () => {
  assert.is(lanes % 8, 0);
  const profile = { ...before, tuned: forced({ kernel: "wide", tile: small }) };
  for (const channels of [36, 40]) {
    const lowering = new Lowering(profile);
    lowering.lower(reachable([conv2d(input("x", [1, 8, 8, channels]), input("w", [1, 1, channels, 40]))]));
    const used = lowering.launches.map(({ kernel }) => kernel.shader);
    assert.is(used.includes("conv_wide"), channels === 40);
  }
});

test.after(() => device.close());
test.run();
