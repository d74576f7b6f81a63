import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { Program } from "#src/graph/program.js";
import { input, reachable } from "#src/graph/tensor.js";
import {
  chooseStationary,
  chooseTile,
  convFlops,
  convGeometry,
  foldsTaps,
  mapStrides,
  stationaryRows,
} from "#src/ops/conv-geometry.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { CONV_CASES } from "../support/conv-cases.js";
import { checkOp, closeDevice, draw, relativeError, sharedDevice, typed } from "../support/op.js";
import { paperProfile } from "../support/profile.js";
import * as reference from "../support/reference/conv.js";

/** Values, and the gradients by input, weights and bias. */
function check(name: string, c: reference.ConvCase, samples = 24) {
  const { stride, padding, groups, split } = c;
  for (const withBias of [false, true]) {
    test(`${name}${withBias ? ", with bias" : ""}`, () =>
      checkOp({
        name,
        inputs: {
          x: { shape: c.x },
          w: { shape: reference.weightShape(c) },
          ...(withBias && { bias: { shape: [c.filters] } }),
        },
        build: ({ x, w, bias }) => conv2d(x, w, { stride, padding, groups, split, bias }),
        reference: ({ x, w, bias }) => reference.conv2d(x, w, bias ?? null, c),
        samples,
      }));
  }
}

for (const [name, c] of Object.entries(CONV_CASES)) check(name, c);

const MANY: reference.ConvCase = { x: [2, 1025, 1024, 1], kernel: [1, 1], filters: 1 };

test("more output rows than 65535 workgroups hold", async () => {
  const { images, outHeight, outWidth } = convGeometry(MANY.x, [1, 1, 1, 1], plain);
  for (const software of [true, false]) {
    const { lanesY, tm } = chooseTile(paperProfile({ software }), images * outHeight * outWidth, 1, 1);
    assert.ok((images * outHeight * outWidth) / (lanesY * tm) > 65535);
  }
  await checkOp({
    name: "many rows",
    inputs: { x: { shape: MANY.x }, w: { shape: [1, 1, 1, 1] } },
    build: ({ x, w }) => conv2d(x, w),
    reference: ({ x, w }) => reference.conv2d(x, w, null, MANY),
    samples: 2,
    // All pixels meet in one weight, and cancel.
    gradientBound: 1e-3,
  });
});

test("a weight gradient that is split gives the same bits twice", async () => {
  const c: reference.ConvCase = { x: [4, 24, 16, 8], kernel: [3, 3], filters: 8, padding: [1, 1] };
  const x = input("x", c.x);
  const w = input("w", reference.weightShape(c));
  const [dw] = gradients(sum(conv2d(x, w, { padding: 1 })), [w]);
  const { profile } = await sharedDevice();
  const lowering = new Lowering(profile);
  lowering.lower(reachable([dw!]));
  assert.ok(lowering.launches.some((l) => l.node.op.name === "conv2dWeightGrad" && l.kernel.shader === "sum_partials"));
  // checkOp compares the bits of two runs.
  await checkOp({
    name: "split",
    inputs: { x: { shape: c.x }, w: { shape: w.shape } },
    build: (t) => conv2d(t.x, t.w, { padding: 1 }),
    reference: (v) => reference.conv2d(v.x, v.w, null, c),
    samples: 8,
  });
});

test("shapes that do not fit are refused by what is wrong", () => {
  const x = input("x", [1, 6, 6, 8]);
  const refuse = (shape: number[], options: Parameters<typeof conv2d>[2], message: RegExp) =>
    assert.throws(() => conv2d(x, input("w", shape), options), message);
  refuse([1, 1, 7, 4], {}, /weights \[1,1,7,4\] take 7 channels a group, the input \[1,6,6,8\] has 8/);
  refuse([7, 7, 8, 4], {}, /kernel 7 x 7 is larger than the padded input/);
  refuse([1, 1, 8, 8], { groups: 4, split: "rows" }, /4 stripes do not divide 6 rows/);
  refuse([1, 1, 4, 7], { groups: 2 }, /2 groups do not divide 7 filters/);
  refuse([1, 1, 8, 4], { bias: input("b", [5]) }, /the bias must be \[4\], got \[5\]/);
  assert.throws(() => conv2d(input("x", [6, 6, 8]), input("w", [1, 1, 8, 4])), /takes an NHWC map/);
});

const plain = { stride: [1, 1], padding: [0, 0], groups: 1, split: "channels" } as const;

test("geometry: sizes, cost and strides", () => {
  const stem = convGeometry([4, 384, 128, 3], [7, 7, 3, 64], { ...plain, stride: [2, 2], padding: [3, 3] });
  assert.equal([stem.outHeight, stem.outWidth, stem.groupFilters], [192, 64, 64]);
  assert.is(convFlops(stem), 2 * 4 * 192 * 64 * 64 * 49 * 3);
  assert.ok(foldsTaps(stem));
  assert.equal(mapStrides(stem, "output"), { image: 192 * 64 * 64, row: 64 * 64, pixel: 64, group: 64 });

  const parts = convGeometry([2, 24, 8, 2048], [1, 1, 2048, 3072], { ...plain, groups: 6, split: "rows" });
  assert.equal([parts.height, parts.outHeight, parts.groupFilters], [4, 4, 512]);
  assert.is(mapStrides(parts, "input").group, 4 * 8 * 2048);
  assert.is(mapStrides(parts, "input").image, 24 * 8 * 2048);
  assert.not.ok(foldsTaps(parts));

  const channels = convGeometry([2, 1, 1, 3072], [1, 1, 512, 3072], { ...plain, groups: 6 });
  assert.is(mapStrides(channels, "input").group, 512);
  assert.not.ok(foldsTaps(convGeometry([1, 8, 8, 3], [1, 1, 3, 8], plain)), "one tap a row is nothing to fold");
});

test("tiles fit their product, on software adapters and on GPUs", () => {
  for (const software of [true, false]) {
    for (const rows of [1, 3, 4, 7, 8, 15, 16, 100, 1e7]) {
      for (let cols = 1; cols <= 130; cols++) {
        for (const multiple of [1, 2, 4]) {
          const tile = chooseTile(paperProfile({ software }), rows, cols, multiple);
          const which = `${rows} x ${cols}, multiple ${multiple}, ${software ? "software" : "hardware"}`;
          assert.is(cols % tile.elem, 0, which);
          assert.is(multiple % tile.elem, 0, which);
          assert.ok(
            tile.tm <= rows,
            `${which}: the weight gradient moves its last tile back, and needs ${tile.tm} rows`,
          );
          assert.ok(tile.lanesX * tile.lanesY <= 128, which);
          assert.ok([1, 2, 4].includes(tile.tv), which);
          if (tile.elem > 1) assert.ok(cols / tile.elem >= tile.lanesX, `${which}: lanes without a column`);
        }
      }
    }
  }
});

test("tiles made for GPUs compute what those for software adapters do", async () => {
  const device = await sharedDevice();
  const hardware: Device = Object.assign(Object.create(device), { profile: { ...device.profile, software: false } });
  const software: Device = Object.assign(Object.create(device), { profile: { ...device.profile, software: true } });
  for (const [shape, w, options] of [
    [[1, 9, 7, 37], [1, 1, 37, 130], {}],
    [[1, 6, 5, 16], [3, 3, 16, 128], { padding: 1 }],
    [[1, 20, 13, 3], [7, 7, 3, 16], { padding: 3, stride: 2 }],
  ] as const) {
    const inputs = [input("x", shape), input("w", w)];
    const y = conv2d(inputs[0], inputs[1], options);
    const [dx, dw] = gradients(sum(mul(y, y)), inputs);
    const outputs = { y, dx: dx!, dw: dw! };
    const feeds = Object.fromEntries(inputs.map((t) => [t.name, typed(draw(t.size, "uniform", t.size))]));
    const [a, b] = await Promise.all(
      [software, hardware].map(async (on) => {
        const program = await Program.compile(on, { outputs });
        const values = await program.run(feeds, ["y", "dx", "dw"]);
        program.destroy();
        return values;
      }),
    );
    for (const name of ["y", "dx", "dw"] as const)
      assert.ok(relativeError(a[name], b[name]) < 1e-5, `${name} of [${w}]`);
  }
});

test("wide aligned products take vec4 and tall tiles, narrow ones narrower types", () => {
  assert.equal(chooseTile(paperProfile({ software: true }), 1000, 64, 4), {
    elem: 4,
    tv: 2,
    tm: 16,
    lanesX: 8,
    lanesY: 2,
  });
  assert.equal(chooseTile(paperProfile({ software: false }), 1000, 128, 4), {
    elem: 4,
    tv: 2,
    tm: 8,
    lanesX: 16,
    lanesY: 4,
  });
  assert.is(chooseTile(paperProfile({ software: true }), 1000, 64, 2).elem, 2);
  assert.is(chooseTile(paperProfile({ software: true }), 1000, 16, 4).elem, 2);
  assert.is(chooseTile(paperProfile({ software: true }), 1000, 8, 4).elem, 1);
  assert.is(chooseTile(paperProfile({ software: false }), 1000, 32, 4).elem, 2);
  assert.is(chooseTile(paperProfile({ software: true }), 1, 64, 4).tm, 1);
});

test("one operand is held where subgroups of a known size are software", () => {
  const product = { rows: 3072, cols: 256, multiple: 4, inner: 256, aMultiple: 4 };
  const software = paperProfile({ software: true, subgroupSize: 8 });
  assert.equal(chooseStationary(software, product), { elem: 4, tv: 2, aElem: 4, chunk: 64, lanes: 8, unrolled: 0 });
  const narrow = { ...product, cols: 96 };
  assert.equal(chooseStationary(software, narrow), { elem: 4, tv: 1, aElem: 4, chunk: 128, lanes: 8, unrolled: 0 });
  assert.is(chooseStationary(paperProfile({ software: true, subgroupSize: 0 }), product), null);
  assert.is(chooseStationary(paperProfile({ software: false, subgroupSize: 8 }), product), null);
  assert.is(chooseStationary(software, { ...product, rows: 4 }), null);
  assert.is(chooseStationary(software, { ...narrow, inner: 64 })?.chunk, 64);
  assert.is(chooseStationary(software, { ...narrow, inner: 192 })?.chunk, 96);
  const stem = chooseStationary(software, { ...product, inner: 21 });
  assert.equal([stem?.aElem, stem?.chunk], [1, 24]);
  assert.is(chooseStationary(software, { ...product, aMultiple: 2 })?.aElem, 1);
  assert.equal(chooseStationary(software, { ...product, cols: 21 }), {
    elem: 1,
    tv: 3,
    aElem: 4,
    chunk: 128,
    lanes: 8,
    unrolled: 0,
  });
  for (const subgroupSize of [4, 8, 16])
    for (const inner of [1, 3, 16, 21, 64, 100, 192, 4608]) {
      const tile = chooseStationary(paperProfile({ software: true, subgroupSize }), { ...product, inner })!;
      assert.is(tile.chunk % (tile.lanes * tile.aElem), 0, "lanes load whole vectors of a chunk");
    }
});

test("the input gradient reads weights as they are where a subgroup holds them, and transposes them elsewhere", () => {
  const shadersOf = (x: readonly number[], w: readonly number[], software = true, padding = 0) => {
    const lowering = new Lowering(paperProfile({ software, subgroupSize: 8 }));
    const y = conv2d(input("x", x), input("w", w), { padding });
    const [dx] = y.node!.op.gradient!(y.node!, [input("dy", y.shape)]);
    lowering.lower([dx!.node!]);
    return lowering.launches.map(({ kernel }) => kernel.shader);
  };
  assert.equal(shadersOf([4, 6, 5, 64], [1, 1, 64, 256]), ["conv_stationary"]);
  assert.equal(shadersOf([4, 6, 5, 64], [5, 5, 64, 96], true, 2), ["conv_stationary"]);
  assert.equal(shadersOf([4, 6, 6, 64], [3, 3, 64, 64], true, 1), [
    "winograd_weights",
    "winograd_input",
    "conv_stationary",
    "winograd_output",
  ]);
  for (const [why, x, w] of [
    ["filters in no vectors", [4, 6, 5, 64], [1, 1, 64, 254]],
    ["few channels", [4, 6, 5, 12], [1, 1, 12, 256]],
    ["few rows", [1, 2, 2, 64], [1, 1, 64, 256]],
  ] as const)
    assert.is(shadersOf(x, w)[0], "transpose", why);
  assert.is(shadersOf([4, 6, 5, 64], [1, 1, 64, 256], false)[0], "transpose", "a GPU");
});

test("rows are divided so that every workgroup has some", () => {
  for (const rows of [16, 100, 127, 128, 1000, 3072, 100_000])
    for (const others of [1, 2, 7, 64]) {
      const each = stationaryRows(rows, others);
      assert.ok(each >= 1 && each <= 2048, `${rows} rows, ${others} tiles beside`);
    }
});

test.after(closeDevice);
test.run();
