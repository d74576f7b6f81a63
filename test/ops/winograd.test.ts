import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Device, DeviceProfile } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { fuse } from "#src/graph/passes.js";
import { Program } from "#src/graph/program.js";
import { storeHalves } from "#src/graph/storage.js";
import { Block, input, reachable, type Tensor, variable } from "#src/graph/tensor.js";
import { type ConvProblem, tunedKey, WINOGRAD } from "#src/ops/conv-choice.js";
import { type ConvGeometry, convGeometry } from "#src/ops/conv-geometry.js";
import { RUNGS } from "#src/ops/conv-tiles.js";
import { batchNorm, conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { usesWinograd, usesWinogradWeightGrad } from "#src/ops/winograd.js";
import { asGpu, forced } from "../support/forced.js";
import { checkOp, closeDevice, draw, relativeError, sharedDevice, typed } from "../support/op.js";
import { paperProfile, paperUnits } from "../support/profile.js";
import * as reference from "../support/reference/conv.js";

const lavapipe = paperProfile({ software: true, subgroupSize: 8 });
const attrs = { stride: [1, 1], padding: [1, 1], groups: 1, split: "channels" } as const;

const takes = (profile: DeviceProfile, g: ConvGeometry) => usesWinograd(profile, g, "forward", []);

const shadersOf = ({ profile }: Device, t: Tensor) => {
  const lowering = new Lowering(profile);
  lowering.lower([t.node!]);
  return lowering.launches.map(({ kernel }) => kernel.shader);
};

for (const [name, x, filters] of [
  ["odd sizes", [2, 5, 3, 64], 68],
  ["even sizes", [1, 4, 6, 68], 64],
  ["one pixel", [3, 1, 1, 64], 64],
  ["one row", [1, 1, 5, 64], 64],
  ["one row of four squares", [1, 1, 7, 68], 64],
  ["fours of squares across images", [3, 7, 2, 64], 72],
] as const) {
  for (const withBias of [false, true]) {
    const c: reference.ConvCase = { x, kernel: [3, 3], filters, padding: [1, 1] };
    const weights = reference.weightShape(c);
    const g = convGeometry(x, weights, attrs);
    const graph = () => {
      const y = conv2d(input("x", x), input("w", weights), { padding: 1 });
      const [dx, dw] = y.node!.op.gradient!(y.node!, [input("dy", y.shape)]);
      return { y, dx: dx!, dw: dw! };
    };
    const check = () =>
      checkOp({
        name,
        inputs: { x: { shape: x }, w: { shape: weights }, ...(withBias && { bias: { shape: [filters] } }) },
        build: (t) => conv2d(t.x, t.w, { padding: 1, bias: t.bias }),
        reference: (v) => reference.conv2d(v.x, v.w, v.bias ?? null, c),
        bound: 1e-6,
        samples: 12,
      });
    test(`Winograd, ${name}${withBias ? ", with bias" : ""}: values and gradients`, async () => {
      const device = await sharedDevice();
      const { y, dx, dw } = graph();
      for (const [t, gather] of [
        [y, "forward"],
        [dx, "inputGrad"],
      ] as const)
        assert.is(shadersOf(device, t).includes("winograd_output"), usesWinograd(device.profile, g, gather, []));
      assert.is(shadersOf(device, dw).includes("winograd_weight_grad"), usesWinogradWeightGrad(device.profile, g, []));
      await check();
    });

    test(`the same by the kernels for GPUs`, async () => {
      const device = await sharedDevice();
      await asGpu(
        device,
        async () => {
          const { y, dx, dw } = graph();
          for (const t of [y, dx]) {
            assert.ok(shadersOf(device, t).includes("winograd_output"));
            // Fewer than eight squares are no rows for a tile.
            const squares = x[0] * Math.ceil(x[1] / 2) * Math.ceil(x[2] / 2);
            assert.ok(shadersOf(device, t).includes(squares >= 8 ? "conv_tiled" : "conv"));
          }
          const gradient = ["winograd_input", "winograd_output_grad", "conv_weight_grad_tiled"];
          assert.equal(shadersOf(device, dw).slice(0, 3), gradient);
          assert.is(shadersOf(device, dw).at(-1), "winograd_weight_grad");
          await check();
        },
        { tuned: forced(WINOGRAD) },
      );
    });
  }
}

test("it takes wide 3 x 3 convolutions of stride 1 on software adapters, where it was measured", () => {
  const geometry = (change: object = {}, channels = 64, filters = 64, kernel = 3) =>
    convGeometry([1, 8, 8, channels], [kernel, kernel, channels, filters], { ...attrs, ...change });
  assert.ok(takes(lavapipe, geometry()));
  assert.ok(takes(lavapipe, geometry({}, 512, 256)));
  for (const [why, g] of [
    ["stride", geometry({ stride: [2, 2] })],
    ["padding", geometry({ padding: [0, 0] })],
    ["narrow", geometry({}, 60)],
    ["few filters", geometry({}, 64, 32)],
    ["no whole vectors", geometry({}, 66)],
    ["kernel", geometry({ padding: [1, 1] }, 64, 64, 5)],
    ["groups", convGeometry([1, 8, 8, 128], [3, 3, 64, 128], { ...attrs, groups: 2 })],
  ] as const)
    assert.not.ok(takes(lavapipe, g), why);
  assert.not.ok(takes(paperProfile({ software: false, subgroupSize: 32 }), geometry()));
  assert.not.ok(takes(paperProfile({ software: true, subgroupSize: 0 }), geometry()));
  // 16 x 36864 x 64 transformed values are 144 MiB, the map itself 36.
  const large = convGeometry([1, 384, 384, 64], [3, 3, 64, 64], attrs);
  assert.not.ok(takes({ ...lavapipe, maxBindingBytes: 128 * 2 ** 20 }, large), "transforms that cannot be bound");
  assert.ok(takes({ ...lavapipe, maxBindingBytes: 144 * 2 ** 20 }, large));
  assert.ok(usesWinogradWeightGrad(lavapipe, geometry(), []));
  const sixSquares = convGeometry([1, 4, 6, 64], [3, 3, 64, 64], attrs);
  assert.not.ok(usesWinogradWeightGrad(lavapipe, sixSquares, []), "no whole vectors of squares");
});

test("untuned it runs on NVIDIA alone, where channels and products are as many as were measured", () => {
  const nvidia = paperProfile({ software: false, vendor: "nvidia", subgroupSize: 32 });
  const geometry = (images: number, [height, width]: readonly number[], channels: number, filters = channels) =>
    convGeometry([images, height, width, channels], [3, 3, channels, filters], attrs);
  const runs = (profile: DeviceProfile, g: ConvGeometry) => {
    const ways = [
      usesWinograd(profile, g, "forward", []),
      usesWinograd(profile, g, "inputGrad", []),
      usesWinogradWeightGrad(profile, g, []),
    ];
    assert.ok(ways.every((way) => way === ways[0]));
    return ways[0];
  };
  for (const [size, channels] of [
    [[48, 16], 128],
    [[24, 8], 256],
    [[24, 8], 512],
  ] as const)
    for (const images of [32, 48]) {
      const g = geometry(images, size, channels);
      assert.ok(runs(nvidia, g), `${channels} channels, batch ${images}`);
      assert.ok(usesWinograd(nvidia, g, "forward", ["a", "c"]), "transforms of float16 maps are float32");
      for (const vendor of ["amd", "intel", "apple", "somebody"]) assert.not.ok(runs({ ...nvidia, vendor }, g), vendor);
      const units = { ...nvidia, matrixUnits: paperUnits(16), workgroupBytes: 49152 };
      assert.not.ok(runs(units, g), "matrix units make the direct product");
      const direct = { kernel: "tiled", tile: RUNGS["64x128, 8x8"] } as const;
      assert.not.ok(runs({ ...nvidia, tuned: forced(direct) }, g), "tuned otherwise");
      assert.not.ok(runs({ ...nvidia, maxBindingBytes: 2 ** 24 }, g), "transforms that cannot be bound");
    }
  for (const [why, g] of [
    ["64 channels", geometry(48, [96, 32], 64)],
    ["64 filters", geometry(48, [96, 32], 256, 64)],
    ["an image alone", geometry(1, [24, 8], 512)],
    ["odd sides", geometry(512, [7, 7], 512)],
    ["a row", geometry(512, [1, 24], 512)],
  ] as const)
    assert.not.ok(runs(nvidia, g), why);
});

test("on GPUs small ones run so where that was tuned, by the name that the direct product has", () => {
  const gpu = paperProfile({ software: false, vendor: "nvidia", subgroupSize: 32 });
  const graph = (padding: number) => {
    const [x, w] = [input("x", [2, 8, 6, 64]), input("w", [3, 3, 64, 72])];
    const y = conv2d(x, w, { padding });
    return [y, ...gradients(sum(mul(y, input("dy", y.shape))), [x, w]).map((t) => t!)];
  };
  const launches = (profile: DeviceProfile, outputs: readonly Tensor[]) => {
    const lowering = new Lowering(profile);
    lowering.lower(reachable(outputs));
    return lowering.launches;
  };
  const byWinograd = (profile: DeviceProfile, outputs: readonly Tensor[]) =>
    launches(profile, outputs).filter(({ kernel }) => kernel.shader === "winograd_input").length;
  for (const stored of [(outputs: Tensor[]) => outputs, storeHalves]) {
    const wide = stored(graph(1));
    const keys = launches(gpu, wide).flatMap(({ problem }) => (problem ? [tunedKey(gpu, problem as ConvProblem)] : []));
    assert.is(new Set(keys).size, 3);
    assert.is(byWinograd(gpu, wide), 0);
    for (const key of keys) assert.is(byWinograd({ ...gpu, tuned: { [key]: WINOGRAD } }, wide), 1, key);
    const all = { ...gpu, tuned: forced(WINOGRAD) };
    assert.is(byWinograd(all, wide), 3);
    assert.is(byWinograd(all, stored(graph(0))), 0, "its name does not tell the padding");
    assert.is(byWinograd({ ...all, maxBindingBytes: 2 ** 18 }, wide), 0, "transforms that cannot be bound");
  }
});

test("for inference the weights are transformed once, and batch norm, residual and ReLU stay in the epilogue", async () => {
  const device = await sharedDevice();
  const block = new Block("weights");
  const w = variable("w", [3, 3, 64, 64], block, 0);
  block.bytes = w.bytes;
  block.buffer = device.buffer("weights", block.bytes, 0x80 | 0x8);
  const values = typed(draw(w.size, "uniform", 1));
  device.gpu.queue.writeBuffer(block.buffer, 0, values as Float32Array<ArrayBuffer>);
  const x = input("x", [2, 5, 4, 64]);
  const vector = (name: string) => input(name, [64]);
  const y = batchNorm(
    conv2d(x, w, { padding: 1 }),
    { gamma: vector("gamma"), beta: vector("beta"), runningMean: vector("mean"), runningVar: vector("var") },
    { training: false, relu: true, residual: x },
  ).y;
  const feeds = {
    x: typed(draw(x.size, "uniform", 2)),
    ...Object.fromEntries(["gamma", "beta", "mean"].map((n, i) => [n, typed(draw(64, "uniform", 3 + i))])),
    var: typed(draw(64, "uniform", 6).map((v) => 0.5 + Math.abs(v))),
  };
  const run = async (outputs: typeof y, hoist: boolean) => {
    const program = await Program.compile(device, { outputs: { outputs }, hoist });
    await program.run(feeds, []);
    const result = { values: (await program.run(feeds, ["outputs"])).outputs, dispatches: program.dispatches };
    program.destroy();
    return result;
  };
  const plain = await run(y, false);
  const [folded] = fuse([y]);
  const prepared = await run(folded, true);
  assert.ok(relativeError(prepared.values, plain.values) < 1e-5);
  // The affine form of batch norm, the input's transform, the products and the output's.
  if (takes(device.profile, convGeometry(x.shape, w.shape, attrs))) assert.is(prepared.dispatches, 4);
  assert.is(
    reachable([folded]).filter((node) => node.op.name === "conv2d").length,
    1,
    "the caller's graph is left alone",
  );
  device.release(block.buffer);
});

test.after(closeDevice);
test.run();
