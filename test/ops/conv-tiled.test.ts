/** The kernels with workgroup memory, made to run on whatever adapter there is; and how their tiles are chosen, without one. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Lowering } from "#src/graph/lowering.js";
import { Program } from "#src/graph/program.js";
import { input, reachable } from "#src/graph/tensor.js";
import { type ConvChoice, plainChoice } from "#src/ops/conv-choice.js";
import { RUNGS, type WorkgroupTile } from "#src/ops/conv-tiles.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { CONV_CASES } from "../support/conv-cases.js";
import { withForced } from "../support/forced.js";
import { checkOp, closeDevice, draw, relativeError, sharedDevice, typed } from "../support/op.js";
import * as reference from "../support/reference/conv.js";

// A software adapter forgives an index that a GPU's 64 bits of address would not.
await sharedDevice({ robust: true });

const tiled = (tile: WorkgroupTile): ConvChoice => ({ kernel: "tiled", tile });

/** All elements of y, dx and dw by one choice. */
async function computed(c: reference.ConvCase, choice: ConvChoice, shaders: readonly string[]) {
  const device = await sharedDevice();
  return withForced(device, choice, async () => {
    const [x, w] = [input("x", c.x), input("w", reference.weightShape(c))];
    const y = conv2d(x, w, c);
    const dy = input("dy", y.shape);
    const [dx, dw] = gradients(sum(mul(y, dy)), [x, w]);
    const outputs = { y, dx: dx!, dw: dw! };
    const lowering = new Lowering(device.profile);
    lowering.lower(reachable(Object.values(outputs)));
    for (const shader of shaders)
      assert.ok(
        lowering.launches.some((l) => l.kernel.shader === shader),
        `runs ${shader}`,
      );
    const program = await Program.compile(device, { outputs });
    const feeds = Object.fromEntries([x, w, dy].map((t, i) => [t.name, typed(draw(t.size, "uniform", i + 1))]));
    const values = await program.run(feeds, ["y", "dx", "dw"]);
    program.destroy();
    return values;
  });
}

/** Values and sampled gradients against float64, and every element against the kernel without workgroup memory. */
function check(
  name: string,
  tile: WorkgroupTile,
  c: reference.ConvCase,
  shaders = ["conv_tiled", "conv_weight_grad_tiled"],
) {
  test(name, async () => {
    const device = await sharedDevice();
    await withForced(device, tiled(tile), () =>
      checkOp({
        name,
        inputs: { x: { shape: c.x }, w: { shape: reference.weightShape(c) }, bias: { shape: [c.filters] } },
        build: ({ x, w, bias }) => conv2d(x, w, { ...c, bias }),
        reference: ({ x, w, bias }) => reference.conv2d(x, w, bias, c),
        samples: 6,
      }),
    );
    const plain = plainChoice({ ...device.profile, software: false }, { rows: 1, cols: 1, multiple: 1 });
    const [a, b] = [await computed(c, tiled(tile), shaders), await computed(c, plain, ["conv"])];
    for (const key of ["y", "dx", "dw"] as const) {
      const error = relativeError(a[key], b[key]);
      assert.ok(error < 1e-5, `${key} is off by ${error}`);
    }
  });
}

// Every rung, on more than one tile each way and ragged ends of all three.
for (const [name, tile] of Object.entries(RUNGS)) {
  const weightGrad = tile.tm % 4 === 0 ? ["conv_weight_grad_tiled"] : [];
  check(`rung ${name}`, tile, { x: [1, 13, 12, 20], kernel: [1, 1], filters: 132 }, ["conv_tiled", ...weightGrad]);
}

const small = RUNGS["32x32, 4x4"];
const twice: WorkgroupTile = { ...small, buffers: 2 };
const plainly: WorkgroupTile = { ...small, prefetch: 0 };
check("3 x 3, two buffers", twice, { x: [2, 8, 6, 8], kernel: [3, 3], filters: 12, padding: [1, 1] });
check("3 x 3, no prefetch", plainly, { x: [2, 8, 6, 8], kernel: [3, 3], filters: 12, padding: [1, 1] });
for (const [name, c] of Object.entries(CONV_CASES)) check(name, small, c);
// Channels, filters and pixels of whole slices, for which kernels ask no bounds: more than one slice of each tap and image.
check("whole slices", small, { x: [2, 8, 8, 32], kernel: [1, 1], filters: 48 });
check("whole slices, 3 x 3", small, { x: [3, 8, 4, 32], kernel: [3, 3], filters: 32, padding: [1, 1] });
check("whole slices, 3 x 3, stride 2, two buffers", twice, {
  x: [4, 8, 8, 32],
  kernel: [3, 3],
  filters: 32,
  stride: [2, 2],
  padding: [1, 1],
});
check("vec4 of one operand alone", small, { x: [2, 5, 4, 8], kernel: [1, 1], filters: 7 });
check(
  "a weight gradient whose sum is split",
  small,
  { x: [2, 24, 16, 8], kernel: [3, 3], filters: 8, padding: [1, 1] },
  ["conv_tiled", "conv_weight_grad_tiled", "sum_partials"],
);

test.after(closeDevice);
test.run();
