/** Every variant of every shader that the ops use, found by lowering representative graphs; needs no GPU. */
import { fmaPeakGraphs } from "#src/cli/bench/peak.js";
import type { DeviceProfile } from "#src/gpu/device.js";
import { KernelCache, type KernelSpec } from "#src/gpu/kernel.js";
import { Lowering } from "#src/graph/lowering.js";
import { fuse } from "#src/graph/passes.js";
import { storeHalves } from "#src/graph/storage.js";
import { input, reachable, type Shape, type Tensor } from "#src/graph/tensor.js";
import type { ConvWay } from "#src/ops/conv-choice.js";
import { WINOGRAD } from "#src/ops/conv-choice.js";
import { MATRIX_RUNGS, type MatrixTile } from "#src/ops/conv-matrix.js";
import { RUNGS } from "#src/ops/conv-tiles.js";
import { WIDE_RUNGS } from "#src/ops/conv-wide.js";
import * as ops from "#src/ops/index.js";
import { forced } from "./forced.js";
import { paperUnits } from "./profile.js";

const profile = (software: boolean): DeviceProfile => ({
  name: "any",
  vendor: "",
  architecture: "",
  description: "",
  software,
  features: [],
  subgroupSize: software ? 8 : 32,
  maxBindingBytes: 2 ** 31,
  maxBufferBytes: 2 ** 31,
  workgroupBytes: 16384,
  workgroupInvocations: 256,
});

let count = 0;
const tensor = (shape: Shape, dtype: Tensor["dtype"] = "f32") => input(`t${count++}`, shape, dtype);

/** The tensors, and the gradients of their sums by every float input. */
function differentiated(outputs: readonly Tensor[]): Tensor[] {
  const leaves = new Set(reachable(outputs).flatMap((node) => node.inputs.filter((t) => !t.node && t.dtype === "f32")));
  const loss = outputs.map((y) => ops.sum(ops.mul(y, y))).reduce((a, b) => ops.add(a, b));
  return [...outputs, ...ops.gradients(loss, [...leaves]).filter((g) => g !== null)];
}

/** Channel counts that are whole numbers of vec4, and that are not. */
const CHANNELS = [8, 3];

function elementwiseGraphs(): Tensor[] {
  const x = tensor([2, 3, 8]);
  const odd = tensor([2, 3, 5]);
  return [
    ops.relu(x),
    ops.leakyRelu(x, 0.1),
    ops.sigmoid(x),
    ops.scale(x, 2),
    ops.dropout(x, 0.5, tensor([1], "u32")),
    ops.add(x, x),
    ops.add(tensor([2, 3, 1]), x),
    ops.mul(tensor([2, 3, 1]), x),
    ops.mul(x, tensor([2, 3, 1])),
    ops.mul(odd, tensor([2, 1, 1])),
    ops.mul(tensor([2, 1, 5]), odd),
    ops.add(odd, tensor([2, 3, 1])),
    ops.sum(x, [1]),
    ops.sum(odd, [1]),
    ops.sum(x, [2]),
    ops.max(x, [1]),
    ops.max(tensor([2, 100])),
    ops.broadcastTo(tensor([2, 1]), [2, 8]),
    ops.broadcastTo(tensor([2, 1]), [2, 5]),
  ];
}

function mapGraphs(channels: number): Tensor[] {
  const x = tensor([2, 6, 6, channels]);
  return [
    ops.maxPool(x),
    ops.globalMaxPool(x),
    ops.globalAveragePool(x),
    ops.pyramidPool(x, 3),
    ops.cropResize(x, tensor([2, 4]), { height: 3, width: 3 }),
    ops.cropResize(tensor([2, 6, 6, 2 * channels]), tensor([2, 4]), { height: 3, width: 3 }),
    ops.maskMultiply(x, tensor([2, 6, 6])),
    ops.slice(x, 1, 1, 3),
    ops.concat([x, x], 3),
    ops.transpose(tensor([12, channels])),
    ...ops.split(x, 1, 3),
  ];
}

function lossGraphs(width: number): Tensor[] {
  const labels = tensor([4], "i32");
  const h = tensor([4, width]);
  return [
    ops.softmaxCrossEntropy(tensor([2, 4, width]), labels),
    ops.batchHardTriplet(h, labels, 0.2),
    ops.batchHardTriplet(h, labels, 0.2, { distance: "euclidean", average: "all" }),
    ops.classAlignment(h, tensor([4, width]), labels),
    ops.transpose(h),
    ops.matmul(h, tensor([width, 9])),
    ops.matmul(h, tensor([width, 300])),
  ];
}

/** Convolutions of all tile sizes: of wide and narrow outputs, many and few rows, every alignment. */
function convGraphs(): Tensor[] {
  const graphs: Tensor[] = [];
  for (const filters of [1, 3, 6, 10, 24, 30, 40, 66, 128, 256]) {
    for (const [height, width] of [
      [1, 1],
      [2, 2],
      [2, 4],
      [8, 8],
    ]) {
      for (const channels of [3, 6, 64]) {
        const x = tensor([1, height, width, channels]);
        const bias = tensor([filters]);
        graphs.push(ops.conv2d(x, tensor([1, 1, channels, filters]), { bias }));
        graphs.push(ops.conv2d(x, tensor([3, 3, channels, filters]), { padding: 1 }));
      }
    }
  }
  const x = tensor([2, 12, 8, 16]);
  graphs.push(ops.conv2d(x, tensor([1, 1, 16, 24]), { groups: 3, split: "rows", bias: tensor([24]) }));
  graphs.push(ops.conv2d(x, tensor([3, 3, 8, 24]), { groups: 2, stride: 2, padding: 1 }));
  graphs.push(ops.conv2d(tensor([1, 21, 21, 3]), tensor([7, 7, 3, 64]), { stride: 2, padding: 3 }));
  return graphs;
}

function normalized(x: Tensor, training: boolean, residual?: Tensor, relu = residual !== undefined): Tensor[] {
  const vector = () => tensor([x.shape[3]]);
  const vectors = { gamma: vector(), beta: vector(), runningMean: vector(), runningVar: vector() };
  const { y, runningMean, runningVar } = ops.batchNorm(x, vectors, {
    training,
    relu,
    residual,
  });
  return training ? [y, runningMean, runningVar] : [y];
}

/** Training graphs, with their gradients. */
function trainingGraphs(): Tensor[][] {
  const graphs = [elementwiseGraphs(), ...CHANNELS.flatMap((c) => [mapGraphs(c), lossGraphs(c)]), convGraphs()].flat();
  const lists = graphs.map((y) => differentiated([y]));
  for (const channels of CHANNELS) {
    for (const training of [true, false]) {
      for (const [relu, residual] of [[false], [true], [true, tensor([2, 6, 6, channels])]] as const) {
        const [y, ...updates] = normalized(tensor([2, 6, 6, channels]), training, residual, relu);
        lists.push([...differentiated([y]), ...updates]);
        // Of maps that lie in halves.
        const map = () => ops.maxPool(tensor([2, 12, 12, channels]));
        const [z, ...moved] = normalized(map(), training, residual && map(), relu);
        lists.push([...differentiated([z]), ...moved]);
      }
    }
  }
  const packed = ops.pack([tensor([8]), tensor([8])], [0, 256], 128);
  lists.push(ops.sgd(tensor([128]), tensor([128]), packed, tensor([4])));
  const parts = [0, 64].map((start) => ({ start, size: 8 }));
  const { state, gate } = ops.lossScale(tensor([4]), [{ flat: packed, parts }], { initial: 1, dynamic: true });
  lists.push([state, ...ops.sgd(tensor([128]), tensor([128]), packed, tensor([4]), undefined, gate)]);
  for (const interpolation of ["bilinear", "bicubic"] as const) {
    const table = tensor([2, ops.IMAGE_TABLE_COLUMNS], "i32");
    lists.push([ops.prepareImages(tensor([30], "u32"), table, 4, 4, { interpolation })]);
  }
  const topK = { values: tensor([3, 9]), indices: tensor([3, 9], "u32"), least: tensor([9]) };
  lists.push(Object.values(ops.topK(tensor([4, 5]), tensor([1, 4], "u32"), topK, "columns")));
  for (const software of [true, false]) lists.push(fmaPeakGraphs(software));
  return lists;
}

/** Inference graphs, with batch norm folded into convolutions where that is possible. */
function inferenceGraphs(widths = [8, 64, 256, 30, 3]): Tensor[][] {
  return widths.flatMap((channels) =>
    [false, true].flatMap((withResidual) =>
      [1, 3].map((kernel) => {
        const x = tensor([1, 8, 8, channels]);
        const bias = kernel === 1 ? tensor([channels]) : undefined;
        const y = ops.conv2d(x, tensor([kernel, kernel, channels, channels]), { padding: kernel >> 1, bias });
        return fuse(normalized(y, false, withResidual ? x : undefined));
      }),
    ),
  );
}

/** Convolutions by every alignment of either operand, with and without a gather, with every epilogue. */
function tiledGraphs(): Tensor[][] {
  const graphs = [8, 3].flatMap((channels) =>
    [8, 3].flatMap((filters) =>
      [1, 3].map((kernel) => {
        const x = tensor([1, 6, 6, channels]);
        return differentiated([ops.conv2d(x, tensor([kernel, kernel, channels, filters]), { padding: kernel >> 1 })]);
      }),
    ),
  );
  // Of whole slices, whatever their depth.
  const whole = [1, 3].map((kernel) => {
    const x = tensor([1, 8, 8, 32]);
    return differentiated([ops.conv2d(x, tensor([kernel, kernel, 32, 32]), { padding: kernel >> 1 })]);
  });
  return [...graphs, ...whole, ...momentsGraphs(8), ...inferenceGraphs([8])];
}

/** Convolutions that leave their moments to batch norm. */
function momentsGraphs(channels: number): Tensor[][] {
  return [1, 3].map((kernel) => {
    const weights = tensor([kernel, kernel, channels, channels]);
    const bias = kernel === 1 ? tensor([channels]) : undefined;
    return normalized(ops.conv2d(tensor([1, 6, 6, channels]), weights, { padding: kernel >> 1, bias }), true);
  });
}

function matrixGraphs(): Tensor[][] {
  const graphs = [64, 63].flatMap((filters) =>
    [64, 33].flatMap((channels) =>
      [1, 3].map((kernel) => {
        const x = tensor([1, 8, 8, channels]);
        return differentiated([ops.conv2d(x, tensor([kernel, kernel, channels, filters]), { padding: kernel >> 1 })]);
      }),
    ),
  );
  return [...graphs, ...momentsGraphs(64), ...inferenceGraphs([64])];
}

/**
 * Adapters with matrix units: one on which every rung is made and what a tuner may make of it, and one of every kind of shape. The
 * size of their subgroups is asked for, as Dawn's null backend wants whole subgroups of 128 from whoever does not.
 */
function matrixProfiles(): DeviceProfile[] {
  const asking = { ...profile(false), subgroupSize: 0, workgroupBytes: 49152 };
  const made = (choice: ConvWay) => ({ matrixUnits: paperUnits(16), tuned: forced(choice) });
  const on = (tile: MatrixTile) => made({ kernel: "matrix", tile });
  const kinds = [
    paperUnits(8),
    paperUnits(8, { components: "f32" }),
    paperUnits(16, { n: 8, k: 8 }),
    paperUnits(16, { n: 8 }),
    paperUnits(8, { n: 8, k: 16, lanes: 8 }),
    paperUnits(8, { n: 16, k: 16, lanes: 16 }),
  ];
  const rungs = Object.values(MATRIX_RUNGS);
  return [
    ...rungs.flatMap((rung) => [0, 1].map((prefetch) => ({ ...asking, ...on({ ...rung, prefetch }) }))),
    ...kinds.map((matrixUnits) => ({ ...asking, matrixUnits })),
    { ...asking, subgroupSize: 32, ...on(MATRIX_RUNGS["64x64 by 4"]) },
    { ...asking, ...on({ ...MATRIX_RUNGS["32x32 by 2"], splits: 2 }) },
    ...Object.values(WIDE_RUNGS).map((tile) => ({ ...asking, ...made({ kernel: "wide", tile }) })),
    { ...asking, ...made({ kernel: "wide", tile: { ...WIDE_RUNGS["32x64 by 2"], splits: 2 } }) },
  ];
}

/** Profiles under which every rung of the ladder is made, and what a tuner may make of it. */
function tiledProfiles(): DeviceProfile[] {
  const tiles = Object.values(RUNGS).flatMap((rung) => [0, 1].map((prefetch) => ({ ...rung, prefetch })));
  const shared = [RUNGS["128x128, 8x8"], RUNGS["32x32, 2x4"]].map((rung) => ({ ...rung, splits: 2 }));
  return [...tiles, ...shared].map((tile) => ({ ...profile(false), tuned: forced({ kernel: "tiled", tile }) }));
}

/** Distinct kernel specs of all ops, on software adapters of both kinds and on others, with maps in either width. */
export const kernelSpecs = (): KernelSpec[] => specsOn([true, false]);

/** Those that are made for adapters that are GPUs. */
export const gpuKernelSpecs = (): KernelSpec[] => specsOn([false]);

function specsOn(adapters: readonly boolean[]): KernelSpec[] {
  const specs = new Map<string, KernelSpec>();
  const collect = (on: DeviceProfile, graphs: readonly (readonly Tensor[])[]) => {
    const lowering = new Lowering(on);
    for (const outputs of graphs) {
      lowering.lower(reachable(outputs));
      lowering.lower(reachable(storeHalves(outputs)));
    }
    for (const { kernel } of lowering.launches) specs.set(KernelCache.key(kernel), kernel);
  };
  const graphs = [...trainingGraphs(), ...inferenceGraphs()];
  for (const software of adapters) collect(profile(software), graphs);
  if (adapters.includes(true)) collect({ ...profile(true), gathers: true }, graphs);
  // As a tuner may leave it on a GPU.
  collect({ ...profile(false), tuned: forced(WINOGRAD) }, graphs);
  const tiled = tiledGraphs();
  for (const on of tiledProfiles()) collect(on, tiled);
  const wide = matrixGraphs();
  for (const on of matrixProfiles()) collect(on, wide);
  return [...specs.values()];
}
