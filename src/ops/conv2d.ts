/** Convolution and its two gradients: one implicit GEMM with three ways to gather (shaders/conv*.wgsl). */
import type { DeviceProfile } from "../gpu/device.js";
import { Lowering } from "../graph/lowering.js";
import { apply, input, type Node, type Op, type Shape, type Tensor } from "../graph/tensor.js";
import { expectShape } from "./check.js";
import { type ConvAttrs, type ConvGeometry, convFlops, convGeometry, foldsTaps, mapStrides } from "./conv-geometry.js";
import { dispatchConv } from "./conv-launch.js";
import { lowerConvWeightGrad } from "./conv-weight-grad.js";
import { flat, inHalves, stored } from "./lanes.js";
import { transposedOnce } from "./layout.js";
import { sum } from "./reduce.js";
import {
  dispatchWinograd,
  epilogueOperands,
  lowerWinogradWeightGrad,
  preparedWinograd,
  transformed,
  usesWinograd,
  usesWinogradWeightGrad,
} from "./winograd.js";

/** What is done to a sum before it is stored; everything but the bias is for inference, and not differentiated. */
export interface Epilogue {
  readonly bias: boolean;
  readonly affine: boolean;
  readonly residual: boolean;
  readonly relu: boolean;
}

export interface Conv2dAttrs extends ConvAttrs {
  readonly epilogue: Epilogue;
}

const PLAIN: Epilogue = { bias: false, affine: false, residual: false, relu: false };

/** Inputs: x, w, then bias | scale, shift | residual as the epilogue says. */
export const conv2dOp: Op<Conv2dAttrs> = {
  name: "conv2d",
  halves: { inputs: [0, 4], outputs: [0] }, // x and the residual behind scale and shift
  outputs([x, w, ...rest], attrs) {
    const g = convGeometry(x.shape, w.shape, attrs);
    const shape = [g.images, g.outHeight, g.outWidth, g.filters];
    const { bias, affine, residual } = attrs.epilogue;
    if (bias) expectShape(rest[0], [g.filters], "the bias");
    if (affine) for (const t of rest.slice(0, 2)) expectShape(t, [g.filters], "scale and shift");
    if (residual) expectShape(rest[rest.length - 1], shape, "the residual");
    return [{ shape }];
  },
  gradient({ inputs: [x, w, bias], attrs }, [dy]) {
    const { affine, residual, relu } = attrs.epilogue;
    if (affine || residual || relu)
      throw new Error("conv2d with a fused epilogue is for inference and has no gradient");
    if (!dy) return [null, null];
    const dx = apply(convInputGradOp, [dy, w], { ...attrs, shape: x.shape })[0];
    const dw = apply(convWeightGradOp, [x, dy], { ...attrs, shape: w.shape })[0];
    return bias ? [dx, dw, sum(dy, [0, 1, 2])] : [dx, dw];
  },
  rounds: roundsWeights,
  prepare({ inputs, outputs: [y], attrs }, profile) {
    const [x, w] = inputs;
    const g = convGeometry(x.shape, w.shape, attrs);
    return usesWinograd(profile, g, "forward", inHalves({ a: x, c: y })) ? [preparedWinograd(inputs, attrs)] : null;
  },
  lower({ inputs: [x, w, ...rest], outputs: [y], attrs }, to) {
    const g = convGeometry(x.shape, w.shape, attrs);
    const operands = epilogueOperands(attrs, rest);
    if (usesWinograd(to.profile, g, "forward", inHalves({ a: x, c: y }))) {
      dispatchWinograd(to, g, { x, u: transformed(to, w, false), y }, attrs.epilogue.relu, operands);
      return;
    }
    const strides = mapStrides(g, "input");
    const source = foldsTaps(g) ? padded(x, g, to) : null;
    const [kh, kw] = g.kernel;
    const tapStride = g.groupChannels * g.filters;
    dispatchConv(to, {
      gather: "forward",
      stride: g.stride,
      a: source?.map ?? x,
      b: () => w,
      c: y,
      rows: [g.images, g.outHeight, g.outWidth],
      cols: g.groupFilters,
      inner: source ? kw * g.channels : g.groupChannels,
      taps: source ? [kh, 1] : [kh, kw],
      source: source ? [source.height, source.width] : [g.height, g.width],
      mul: g.stride,
      add: source ? [0, 0] : [-g.padding[0], -g.padding[1]],
      step: [1, 1],
      inside: source !== null || g.padding.every((p) => p === 0),
      aStrides: source
        ? {
            image: source.height * source.width * g.channels,
            row: source.width * g.channels,
            pixel: g.channels,
            group: 0,
          }
        : strides,
      bTap: [kw * tapStride, tapStride],
      bStart: 0,
      bStride: g.filters,
      bGroup: g.groupFilters,
      cStrides: mapStrides(g, "output"),
      cStart: 0,
      groups: g.groups,
      flops: convFlops(g),
      relu: attrs.epilogue.relu,
      moments: to.asked.has(y),
      ...operands,
    });
  },
};

/** Inputs: dy, w, and what is added to dx, if anything. */
const convInputGradOp: Op<ConvAttrs & { shape: readonly number[] }> = {
  name: "conv2dInputGrad",
  halves: { inputs: [0, 2], outputs: [0] },
  outputs: (_, { shape }) => [{ shape }],
  rounds: roundsWeights,
  lower({ inputs: [dy, w, residual], outputs: [dx], attrs }, to) {
    const g = convGeometry(dx.shape, w.shape, attrs);
    const [kh, kw] = g.kernel;
    if (usesWinograd(to.profile, g, "inputGrad", inHalves({ a: dy, c: dx }))) {
      const reversed = { ...g, channels: g.filters, filters: g.channels };
      dispatchWinograd(to, reversed, { x: dy, u: transformed(to, w, true), y: dx, turned: true }, false, { residual });
      return;
    }
    const transposed = transposedOnce(to, w);
    const tap = g.filters * g.groupChannels;
    const out = mapStrides(g, "input");
    // Input pixels of one parity of the stride see the same taps, so each parity is a dense convolution of its own.
    for (let py = 0; py < Math.min(g.stride[0], g.height); py++) {
      for (let px = 0; px < Math.min(g.stride[1], g.width); px++) {
        const y = parity(py, g.stride[0], g.padding[0], kh, g.height, g.outHeight);
        const x = parity(px, g.stride[1], g.padding[1], kw, g.width, g.outWidth);
        dispatchConv(to, {
          gather: "inputGrad",
          stride: g.stride,
          a: dy,
          b: transposed,
          turned: { b: w, column: g.filters, group: g.groupFilters },
          c: dx,
          rows: [g.images, y.count, x.count],
          cols: g.groupChannels,
          inner: g.groupFilters,
          taps: [y.taps, x.taps],
          source: [g.outHeight, g.outWidth],
          mul: [1, 1],
          add: [y.add, x.add],
          step: [-1, -1],
          inside: y.inside && x.inside,
          aStrides: mapStrides(g, "output"),
          bTap: [g.stride[0] * kw * tap, g.stride[1] * tap],
          bStart: (y.firstTap * kw + x.firstTap) * tap,
          bStride: g.groupChannels,
          bGroup: g.groupFilters * g.groupChannels,
          cStrides: { ...out, row: out.row * g.stride[0], pixel: out.pixel * g.stride[1] },
          cStart: py * out.row + px * out.pixel,
          groups: g.groups,
          flops: 2 * g.images * y.count * x.count * y.taps * x.taps * g.filters * g.groupChannels,
          relu: false,
          residual,
        });
      }
    }
  },
};

/** The weights, where nothing but kernels on matrix units reads them as they are. */
function roundsWeights(node: Node, profile: DeviceProfile): readonly number[] {
  const lowering = new Lowering(profile);
  lowering.lower([node]);
  return lowering.launches.every(({ kernel }) => ["conv_wide", "conv_parts"].includes(kernel.shader)) ? [1] : [];
}

/**
 * The sum of two gradients, where one is a convolution's input gradient that nobody has read yet: made in its epilogue.
 * @param shared what is needed as it is, too, and would be made twice
 * @returns null where neither is
 */
export function addInEpilogue(a: Tensor, b: Tensor, shared: ReadonlySet<Tensor>): Tensor | null {
  for (const [product, other] of [
    [b, a],
    [a, b],
  ]) {
    const { node } = product;
    if (node?.op !== convInputGradOp || node.inputs.length > 2 || shared.has(product)) continue;
    return apply(convInputGradOp, [...node.inputs, other], node.attrs as ConvAttrs & { shape: readonly number[] })[0];
  }
  return null;
}

const convWeightGradOp: Op<ConvAttrs & { shape: readonly number[] }> = {
  name: "conv2dWeightGrad",
  halves: { inputs: [0, 1], outputs: [] },
  outputs: (_, { shape }) => [{ shape }],
  lower({ inputs: [x, dy], outputs: [dw], attrs }, to) {
    const g = convGeometry(x.shape, dw.shape, attrs);
    if (usesWinogradWeightGrad(to.profile, g, inHalves({ a: x, b: dy }))) {
      lowerWinogradWeightGrad(to, g, { x, dy, dw });
      return;
    }
    const source = foldsTaps(g) ? padded(x, g, to) : null;
    lowerConvWeightGrad(g, source, { x: source?.map ?? x, dy, dw }, to);
  },
};

/** Of x: its pictures, and their height (that of one stripe where groups are stripes of rows) and width in pixels. */
export type MapSize = readonly [images: number, height: number, width: number];

/** What a convolution, or a gradient of one, is of: its geometry, and the shape of its weights. */
function geometryOf({ op, inputs, attrs }: Node) {
  const { shape, ...rest } = attrs as ConvAttrs & { shape: Shape };
  if (op === conv2dOp) return { w: inputs[1].shape, g: convGeometry(inputs[0].shape, inputs[1].shape, rest) };
  if (op === convInputGradOp) return { w: inputs[1].shape, g: convGeometry(shape, inputs[1].shape, rest) };
  if (op === convWeightGradOp) return { w: shape, g: convGeometry(inputs[0].shape, shape, rest) };
  throw new Error(`${op.name} is no convolution`);
}

/** The size of the map that a convolution, or a gradient of one, is of. */
export function convMapSize(node: Node): MapSize {
  const { images, height, width } = geometryOf(node).g;
  return [images, height, width];
}

/**
 * The same convolution or gradient for a map of another size, its inputs fresh and stored as those of `node`.
 * @returns null where the kernel is larger than the map
 */
export function resizedConv(node: Node, [images, height, width]: MapSize): Node | null {
  const { op, inputs, attrs } = node;
  const { g, w } = geometryOf(node);
  if (w[0] > height + 2 * g.padding[0] || w[1] > width + 2 * g.padding[1]) return null;
  const x = [images, g.split === "rows" ? g.groups * height : height, width, g.channels];
  const { outHeight, outWidth, filters } = convGeometry(x, w, g);
  const y = [images, outHeight, outWidth, filters];
  const inputGrad = op === convInputGradOp;
  // The last of three is what the epilogue adds; of its other operands none is a map.
  const maps = inputGrad ? [y, w, x] : op === conv2dOp ? [x, w, y] : [x, y];
  const fresh = inputs.map(({ shape, dtype }, i) =>
    input(`input ${i}`, shape.length === 4 ? maps[Math.min(i, 2)] : shape, dtype),
  );
  const resized = inputGrad ? { ...(attrs as object), shape: x } : attrs;
  return apply(op, fresh, resized, (i) => node.outputs[i].dtype === "f16")[0].node;
}

function parity(offset: number, stride: number, pad: number, kernel: number, size: number, outSize: number) {
  const firstTap = (offset + pad) % stride;
  const taps = Math.max(0, Math.ceil((kernel - firstTap) / stride));
  const count = Math.ceil((size - offset) / stride);
  const add = (offset + pad - firstTap) / stride;
  const inside = taps === 0 || (add - (taps - 1) >= 0 && add + count - 1 < outSize);
  return { firstTap, taps, count, add, inside };
}

/** The input in a frame of zeros, so that no tap falls outside. */
function padded(x: Tensor, g: ConvGeometry, to: Lowering): { map: Tensor; height: number; width: number } {
  const [top, left] = g.padding;
  const height = g.height + 2 * top;
  const width = g.width + 2 * left;
  const map = to.scratch("padded", [g.images, height, width, g.channels], x.dtype);
  to.dispatch({
    kernel: { shader: "pad", defines: { X: stored(x, 1) } },
    bindings: { x, y: map },
    params: {
      pixels: map.size / g.channels,
      height: g.height,
      width: g.width,
      channels: g.channels,
      outHeight: height,
      outWidth: width,
      top,
      left,
    },
    workgroups: flat(map.size / g.channels),
    bytes: x.bytes + map.bytes,
  });
  return { map, height, width };
}

export interface Conv2dOptions {
  readonly stride?: number | readonly [number, number];
  readonly padding?: number | readonly [number, number];
  /** Groups of filters; each sees its share of the channels, or its stripe of the rows (`split`). */
  readonly groups?: number;
  readonly split?: "channels" | "rows";
  readonly bias?: Tensor;
}

const pair = (v: number | readonly [number, number]): readonly [number, number] => (typeof v === "number" ? [v, v] : v);

/**
 * 2-D convolution (cross-correlation, as everywhere in deep learning).
 * @param x [N, H, W, Cin]
 * @param w [kh, kw, Cin / groups, Cout]; with `split: "rows"` group k sees rows [k H / groups, (k + 1) H / groups) of all
 * channels, and its filters are columns [k Cout / groups, ...) of the output
 * @returns [N, H', W', Cout] with H' = floor((H + 2 padding - kh) / stride) + 1
 */
export function conv2d(x: Tensor, w: Tensor, options: Conv2dOptions = {}): Tensor {
  const attrs: Conv2dAttrs = {
    stride: pair(options.stride ?? 1),
    padding: pair(options.padding ?? 0),
    groups: options.groups ?? 1,
    split: options.split ?? "channels",
    epilogue: { ...PLAIN, bias: options.bias !== undefined },
  };
  return apply(conv2dOp, options.bias ? [x, w, options.bias] : [x, w], attrs)[0];
}
