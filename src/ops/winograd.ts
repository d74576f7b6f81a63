/**
 * 3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3): 16 products of a quarter of the rows instead of 9 of all, that is
 * 2.25 times fewer multiplications, for four times as much to move (shaders/winograd_*.wgsl).
 */
import type { DeviceProfile } from "../gpu/device.js";
import type { Lowering } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { type ConvProblem, chooseConv, tunedKey, WINOGRAD } from "./conv-choice.js";
import { type ConvGeometry, chooseStationary, convFlops, convGeometry, type StationaryTile } from "./conv-geometry.js";
import { dispatchConv, type EpilogueOperands } from "./conv-launch.js";
import { matrixTile } from "./conv-matrix.js";
import { dispatchHeld, lowerTiled } from "./conv-weight-grad.js";
import type { Conv2dAttrs } from "./conv2d.js";
import { flat, stored } from "./lanes.js";
import { transposedOnce } from "./layout.js";

/**
 * Channels from which the fewer products were measured to be worth the transforms, on llvmpipe: 1.3 to 1.9 times as fast from
 * 64 to 512 channels, the weights' transform included, and as much for the weight gradient at batch 4 (1.1 to 1.5 at batch 1). The error
 * against float64 is 1.3 to 1.7 times that of the direct sum (relative, root mean square: 1.4e-7 against 0.9e-7 with 64 channels,
 * 1.9e-7 against 1.4e-7 with 512), that of the weight gradient 1.1 to 1.8 times (2.3e-7 against 2.0e-7, 1.9e-7 against 1.1e-7).
 */
const FEWEST_CHANNELS = 64;
/** And from which a tuner may find so on a GPU. */
const FEWEST_TRIED = 16;
/**
 * The same on NVIDIA, measured on an H200 in float32 (26 November 2026): `channels` and filters, `products` of the two and of the pixels, and
 * how much of the squares must be `used`. Against the best direct tile, both at 384 x 128, inference at batch 32 and training at 48 with
 * the weights' transform included, it takes (the input's gradient by the time forward, and what it took more with another tile)
 * - with 512 channels 53% of the time in inference, 46% and 47% in training forward and for the input's gradient, 48% for the weights';
 * - with 256 65%, 51%, 59% and 63%; with 128 84%, 71%, 72% and 79%;
 * - with 64 99%, 93%, 93% and 90%. There it leaves batch norm no moments to begin with, which costs a pass over the map in
 *   training, and has transforms of eight times the map in memory: these stay direct.
 * The smallest that were measured have 3 x 2^27 products. Smaller ones are few workgroups three times over, so that two thirds of that are
 * asked for. Of maps with odd sides nothing is measured; small ones would compute a good part of their squares for nothing.
 */
const ON_NVIDIA = { channels: 128, products: 2 ** 28, used: 0.9 };

/** What lies in memory as float16, as `ConvProblem` has it. */
type Halves = ConvProblem["halves"];

/** Whether a convolution, or its input gradient, runs by Winograd: where that was measured to be faster, here or by `mpn tune`. */
export function usesWinograd(
  profile: DeviceProfile,
  g: ConvGeometry,
  gather: "forward" | "inputGrad",
  halves: Halves,
): boolean {
  return winogradFits(profile, g) && winogradPays(profile, g, directProblem(g, gather, halves));
}

/** Whether a weight gradient runs by Winograd too. */
export function usesWinogradWeightGrad(profile: DeviceProfile, g: ConvGeometry, halves: Halves): boolean {
  if (!winogradFits(profile, g) || !winogradPays(profile, g, directProblem(g, "weightGrad", halves))) return false;
  return profile.software
    ? squares(g).tiles % 4 === 0 && heldTile(profile, g) !== null
    : chooseConv(profile, productOfGrads(g)).kernel === "tiled";
}

/**
 * What a tuner found is taken for it, either way. Untuned it runs on NVIDIA, where that is measured, and on no other GPU; nor where matrix units
 * make the direct product, which would round the transforms and not the map.
 */
function winogradPays(profile: DeviceProfile, g: ConvGeometry, direct: ConvProblem): boolean {
  if (profile.software) return profile.subgroupSize > 0;
  const tuned = profile.tuned?.[tunedKey(profile, direct)];
  if (tuned) return tuned.kernel === WINOGRAD.kernel;
  if (profile.vendor.toLowerCase() !== "nvidia" || matrixTile(profile, direct)) return false;
  const { channels, filters } = g;
  const pixels = g.images * g.height * g.width;
  return (
    Math.min(channels, filters) >= ON_NVIDIA.channels &&
    pixels * channels * filters >= ON_NVIDIA.products &&
    pixels >= ON_NVIDIA.used * 4 * squares(g).tiles
  );
}

function winogradFits(profile: DeviceProfile, g: ConvGeometry): boolean {
  const all = (pair: readonly number[], n: number) => pair.every((v) => v === n);
  const shaped = all(g.kernel, 3) && all(g.stride, 1) && all(g.padding, 1) && g.groups === 1;
  const fewest = profile.software ? FEWEST_CHANNELS : FEWEST_TRIED;
  const wide = [g.channels, g.filters].every((n) => n >= fewest && n % 4 === 0);
  if (!shaped || !wide) return false;
  // The transforms are larger than maps and weights, so that they may exceed what the adapter binds where those do not.
  const { tiles } = squares(g);
  const [maps, weights] = [tiles * Math.max(g.channels, g.filters), g.channels * g.filters];
  return 16 * 4 * Math.max(maps, weights) <= profile.maxBindingBytes;
}

/** What other kernels would make instead, as conv2d.ts poses it to them: under its name a tuner leaves its choice. */
function directProblem(g: ConvGeometry, gather: ConvProblem["gather"], halves: Halves): ConvProblem {
  const pixels = g.images * g.height * g.width;
  const sizes = {
    forward: { rows: pixels, cols: g.filters, inner: g.channels },
    inputGrad: { rows: pixels, cols: g.channels, inner: g.filters },
    weightGrad: { rows: g.channels, cols: g.filters, inner: pixels },
  };
  const shape = { taps: 9, stride: [1, 1], groups: 1, multiple: 4, aMultiple: 4, pointwise: false } as const;
  return { gather, ...sizes[gather], ...shape, halves };
}

/** The product of a weight gradient's transforms where they lie by squares: 16 pointwise weight gradients. */
function productOfGrads(g: ConvGeometry): ConvProblem {
  const { tiles } = squares(g);
  const shape = {
    taps: 1,
    stride: [1, 1],
    groups: 16,
    multiple: 4,
    aMultiple: 4,
    pointwise: true,
    halves: [],
  } as const;
  return { gather: "weightGrad", rows: g.channels, cols: g.filters, inner: tiles, ...shape };
}

/** Of the product of transforms on software adapters: channels are held, filters go by. */
function heldTile(profile: DeviceProfile, g: ConvGeometry): StationaryTile | null {
  const { tiles } = squares(g);
  return chooseStationary(profile, { rows: g.filters, cols: g.channels, multiple: 4, inner: tiles, aMultiple: 4 });
}

/** [3, 3, C, F] -> [16, C, F], to be worked out once where weights stay as they are. */
const winogradWeightsOp: Op<null> = {
  name: "winogradWeights",
  outputs: ([w]) => [{ shape: [16, ...w.shape.slice(2)] }],
  lower({ inputs: [w], outputs: [u] }, to) {
    dispatchWeights(to, w, u, false);
  },
};

/** Inputs: x, the transformed weights, then as conv2d's epilogue says. */
const winogradOp: Op<Conv2dAttrs> = {
  name: "winograd",
  halves: { inputs: [0, 4], outputs: [0] }, // as of conv2d
  outputs: ([x, u]) => [{ shape: [...x.shape.slice(0, 3), u.shape[2]] }],
  lower({ inputs: [x, u, ...rest], outputs: [y], attrs }, to) {
    const g = convGeometry(x.shape, [3, 3, ...u.shape.slice(1)], attrs);
    dispatchWinograd(to, g, { x, u, y }, attrs.epilogue.relu, epilogueOperands(attrs, rest));
  },
};

/** The convolution of `conv2d`'s node with weights that are transformed beforehand. */
export function preparedWinograd(inputs: readonly Tensor[], attrs: Conv2dAttrs): Tensor {
  const [x, w, ...rest] = inputs;
  return apply(winogradOp, [x, apply(winogradWeightsOp, [w], null)[0], ...rest], attrs)[0];
}

/** The operands of an epilogue among the inputs that follow x and w. */
export function epilogueOperands({ epilogue }: Conv2dAttrs, rest: readonly Tensor[]): EpilogueOperands {
  const { bias, affine, residual } = epilogue;
  return {
    bias: bias ? rest[0] : undefined,
    scale: affine ? rest[0] : undefined,
    shift: affine ? rest[1] : undefined,
    residual: residual ? rest[rest.length - 1] : undefined,
  };
}

/** @param flip for the input gradient, whose taps are turned around */
export function transformed(to: Lowering, w: Tensor, flip: boolean): Tensor {
  const u = to.scratch("winogradWeights", [16, ...w.shape.slice(-2)]);
  dispatchWeights(to, w, u, flip);
  return u;
}

function dispatchWeights(to: Lowering, w: Tensor, u: Tensor, flip: boolean): void {
  const size = u.size / 64;
  to.dispatch({
    kernel: { shader: "winograd_weights", defines: { ELEM: 4 } },
    bindings: { w, u },
    params: { size, flip: Number(flip) },
    workgroups: flat(size),
    bytes: w.bytes + u.bytes,
  });
}

/**
 * y = x * w for transformed weights u [16, C, F], or [16, F, C] where they are `turned`.
 * @param g of the convolution that is done: the input gradient is one from filters to channels
 */
export function dispatchWinograd(
  to: Lowering,
  g: ConvGeometry,
  { x, u, y, turned = false }: { x: Tensor; u: Tensor; y: Tensor; turned?: boolean },
  relu = false,
  operands: EpilogueOperands = {},
): void {
  const { tiles, sizes } = squares(g);
  const v = transformedInput(to, g, x);
  const m = to.scratch("winogradOutput", [16, tiles, g.filters]);
  const pixelsOf = (channels: number) => ({ image: 0, row: 0, pixel: channels, group: tiles * channels });
  dispatchConv(to, {
    a: v,
    b: turned ? transposedOnce(to, u) : () => u,
    turned: turned ? { b: u, column: g.channels, group: g.channels * g.filters } : undefined,
    c: m,
    rows: [1, 1, tiles],
    cols: g.filters,
    inner: g.channels,
    taps: [1, 1],
    source: [1, tiles],
    mul: [1, 1],
    add: [0, 0],
    step: [1, 1],
    inside: true,
    aStrides: pixelsOf(g.channels),
    bTap: [0, 0],
    bStart: 0,
    bStride: g.filters,
    bGroup: g.channels * g.filters,
    cStrides: pixelsOf(g.filters),
    cStart: 0,
    groups: 16,
    // As of the convolution that this replaces, so that rates and sums compare.
    flops: convFlops(g),
    relu: false,
  });
  const outputs = (tiles * g.filters) / 4;
  const { bias, scale, residual } = operands;
  to.dispatch({
    kernel: {
      shader: "winograd_output",
      defines: {
        ELEM: 4,
        BIAS: bias !== undefined,
        AFFINE: scale !== undefined,
        RESIDUAL: residual !== undefined,
        Y: stored(y, 4),
        ...(residual && { R: stored(residual, 4) }),
      },
    },
    bindings: { m, y, ...operands },
    params: { total: outputs, filters: g.filters / 4, ...sizes, relu: Number(relu) },
    workgroups: flat(outputs),
    bytes: m.bytes + y.bytes,
  });
}

/**
 * dw = the sum over all squares of products of their transforms, turned back: the convolution's transposed in its weights.
 * @param g the geometry of the convolution; `usesWinogradWeightGrad` holds
 */
export function lowerWinogradWeightGrad(
  to: Lowering,
  g: ConvGeometry,
  { x, dy, dw }: Record<"x" | "dy" | "dw", Tensor>,
): void {
  const { tiles, sizes } = squares(g);
  const { channels, filters } = g;
  const v = transformedInput(to, g, x);
  const byFilter = to.profile.software;
  const d = to.scratch("winogradOutputGrad", byFilter ? [16, filters, tiles] : [16, tiles, filters]);
  const fours = (tiles * filters) / 4;
  to.dispatch({
    kernel: {
      shader: "winograd_output_grad",
      defines: { BY_FILTER: byFilter, DY: stored(dy, byFilter ? 1 : 4) },
    },
    bindings: { dy, d },
    params: {
      total: fours,
      tiles: byFilter ? tiles / 4 : tiles,
      filters: byFilter ? filters : filters / 4,
      ...sizes,
    },
    workgroups: flat(fours),
    bytes: dy.bytes + d.bytes,
  });
  const product = to.scratch("winogradWeightGrad", byFilter ? [16, filters, channels] : [16, channels, filters]);
  const xs = { image: 0, row: 0, pixel: channels, group: tiles * channels };
  // As of the gradient that this replaces, so that rates and sums compare.
  const flops = convFlops(g);
  if (byFilter)
    dispatchHeld(to, {
      tile: heldTile(to.profile, g)!,
      x: v,
      byFilter: d,
      product,
      filters,
      inner: channels,
      groups: 16,
      taps: [1, 1],
      pixels: tiles,
      map: { outH: 1, outW: tiles, inH: 1, inW: tiles, stride: [1, 1], pad: [0, 0] },
      xs,
      flops,
    });
  else {
    const problem = productOfGrads(g);
    const choice = chooseConv(to.profile, problem);
    if (choice.kernel !== "tiled") throw new Error(`no product of Winograd's transforms is made by ${choice.kernel}`);
    const layout = {
      groups: 16,
      filters,
      tapsX: 1,
      source: [1, tiles],
      out: [1, tiles],
      stride: [1, 1],
      pad: [0, 0],
      xs,
      dPixel: filters,
      dGroup: tiles * filters,
      wStride: filters,
      wGroup: channels * filters,
      flops,
    } as const;
    lowerTiled(layout, problem, choice, { x: v, dy: d, dw: product }, to);
  }
  const total = (channels * filters) / 4;
  to.dispatch({
    kernel: { shader: "winograd_weight_grad", defines: { BY_FILTER: byFilter, M: byFilter ? "f32" : "vec4<f32>" } },
    bindings: { m: product, dw },
    params: { total, channels, filters: filters / 4 },
    workgroups: flat(total),
    bytes: product.bytes + dw.bytes,
  });
}

/** Squares of 2 x 2 outputs, and what the transforms' parameters say of them. */
function squares(g: ConvGeometry) {
  const [tilesY, tilesX] = [Math.ceil(g.height / 2), Math.ceil(g.width / 2)];
  return { tiles: g.images * tilesY * tilesX, sizes: { height: g.height, width: g.width, tilesY, tilesX } };
}

function transformedInput(to: Lowering, g: ConvGeometry, x: Tensor): Tensor {
  const { tiles, sizes } = squares(g);
  const v = to.scratch("winogradInput", [16, tiles, g.channels]);
  const total = (tiles * g.channels) / 4;
  to.dispatch({
    kernel: { shader: "winograd_input", defines: { ELEM: 4, X: stored(x, 4) } },
    bindings: { x, v },
    params: { total, channels: g.channels / 4, ...sizes },
    workgroups: flat(total),
    bytes: x.bytes + v.bytes,
  });
  return v;
}
