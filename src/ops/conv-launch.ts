/** One product of a convolution as a dispatch: forward or input gradient, whichever kernel makes it (conv-choice.ts). */
import type { DeviceProfile } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { Defines } from "../gpu/shader.js";
import { grid, type Lowering, type Moments } from "../graph/lowering.js";
import type { Tensor } from "../graph/tensor.js";
import { alignment, type ConvChoice, type ConvProblem, chooseConv, inEights, sizeOf } from "./conv-choice.js";
import { stationaryDefines, stationaryRows, tileDefines } from "./conv-geometry.js";
import { leavesMoments, matrixKernel } from "./conv-matrix.js";
import { partsOf, tiledElements, tiledKernel } from "./conv-tiles.js";
import { wideKernel } from "./conv-wide.js";
import { flat, inHalves, stored, storedEights } from "./lanes.js";

interface Strides {
  readonly image: number;
  readonly row: number;
  readonly pixel: number;
  readonly group: number;
}

/** Tensors that an epilogue reads. */
export interface EpilogueOperands {
  readonly bias?: Tensor;
  readonly scale?: Tensor;
  readonly shift?: Tensor;
  readonly residual?: Tensor;
}

interface ConvLaunch extends EpilogueOperands {
  /** "forward" by default. */
  readonly gather?: "forward" | "inputGrad";
  /** Of the convolution, 1 by default; `mul` is that of this gather. */
  readonly stride?: readonly [number, number];
  readonly a: Tensor;
  /** [taps, inner, cols] by the strides below; what makes it is asked where a kernel needs it. */
  readonly b: () => Tensor;
  /** The same as [taps, cols, inner], how far its columns and its groups are apart. */
  readonly turned?: { readonly b: Tensor; readonly column: number; readonly group: number };
  readonly c: Tensor;
  readonly rows: readonly [number, number, number];
  readonly cols: number;
  readonly inner: number;
  readonly taps: readonly [number, number];
  readonly source: readonly [number, number];
  readonly mul: readonly [number, number];
  readonly add: readonly [number, number];
  readonly step: readonly [number, number];
  /** No tap of any row falls outside the source. */
  readonly inside: boolean;
  readonly aStrides: Strides;
  readonly bTap: readonly [number, number];
  readonly bStart: number;
  readonly bStride: number;
  readonly bGroup: number;
  readonly cStrides: Strides;
  readonly cStart: number;
  readonly groups: number;
  readonly flops: number;
  readonly relu: boolean;
  /** c is a whole map, its rows in order, whose reader asks for its moments. */
  readonly moments?: boolean;
}

export function dispatchConv(to: Lowering, l: ConvLaunch): void {
  const rows = l.rows[0] * l.rows[1] * l.rows[2];
  const inT = [l.bTap[0], l.bTap[1], l.bStart, l.bStride, l.bGroup, ...Object.values(l.cStrides), l.cStart];
  const problem: ConvProblem = {
    gather: l.gather ?? "forward",
    rows,
    cols: l.cols,
    inner: l.inner,
    taps: l.taps[0] * l.taps[1],
    stride: l.stride ?? [1, 1],
    groups: l.groups,
    multiple: alignment(inT),
    aMultiple: alignment(Object.values(l.aStrides)),
    pointwise: isPointwise(l),
    eights: inEights([...inT, ...Object.values(l.aStrides), l.inner, l.cols]),
    halves: inHalves({ a: l.a, c: l.c }),
  };
  const choice = chooseConv(to.profile, problem);
  const { parts, slices } = splitOf(choice, problem);
  if (parts === 1) {
    dispatchProduct(to, l, problem, choice);
    return;
  }
  const made = to.scratch("parts", [parts, l.groups, rows, l.cols]);
  dispatchProduct(to, unfinished(l, made), problem, choice, { parts, slices });
  finish(to, l, problem, made);
}

function dispatchProduct(to: Lowering, l: ConvLaunch, problem: ConvProblem, choice: ConvChoice, split?: Split): void {
  const { rows } = problem;
  const { elem, aElem, colsPer } = elements(choice, problem);
  const eights = choice.kernel === "wide";
  const t = (floats: number) => floats / elem;
  const ta = (floats: number) => floats / aElem;
  const colTiles = Math.ceil(t(l.cols) / colsPer);
  const { b, turned, ...placesOfB } = operandB(l, choice, elem);
  const rowsPer = rowsOf(choice, rows, colTiles * l.groups);
  const [gx, gy] = grid(colTiles * Math.ceil(rows / rowsPer));
  // Sums that a stationary kernel adds to over and over do not belong in halves.
  const passes = choice.kernel === "stationary" ? problem.taps * Math.ceil(l.inner / choice.tile.chunk) : 1;
  const sums = l.c.dtype === "f16" && passes > 1 ? to.scratch("sums", l.c.shape) : undefined;
  const moments = l.moments ? momentsOf(to, choice, problem, rowsPer) : undefined;
  if (moments) to.moments.set(l.c, moments);
  const defines = {
    ...(eights
      ? eightsDefines(l, b)
      : { ...epilogueDefines(l, elem as 4), A: stored(l.a, aElem as 4), B: "T", C: stored(l.c, elem as 4) }),
    SPLIT: split !== undefined,
    ...(choice.kernel === "stationary" && { SUMS: sums !== undefined, SUMMED: sums ? "sums" : "c" }),
    ...(moments && { MOMENTS: l.c.dtype }),
  };
  to.dispatch({
    kernel: kernelOf(to.profile, choice, problem, defines, l.inside, turned),
    problem,
    bindings: {
      ...{ a: l.a, b, c: l.c, sums },
      ...{ bias: l.bias, scale: l.scale, shift: l.shift, residual: l.residual },
      moments: moments?.partial,
    },
    params: {
      rows,
      rowsPer,
      cols: t(l.cols),
      colTiles,
      inner: ta(l.inner),
      tapsY: l.taps[0],
      tapsX: l.taps[1],
      outH: l.rows[1],
      outW: l.rows[2],
      inH: l.source[0],
      inW: l.source[1],
      mul: l.mul,
      add: l.add,
      step: l.step,
      aImage: ta(l.aStrides.image),
      aRow: ta(l.aStrides.row),
      aPixel: ta(l.aStrides.pixel),
      aGroup: ta(l.aStrides.group),
      ...placesOfB,
      cImage: t(l.cStrides.image),
      cRow: t(l.cStrides.row),
      cPixel: t(l.cStrides.pixel),
      cGroup: t(l.cStrides.group),
      cStart: t(l.cStart),
      relu: Number(l.relu),
      none: 0,
      ...(split && { groups: l.groups, slicesPerPart: split.slices }),
    },
    workgroups: [gx, gy, l.groups * (split?.parts ?? 1)],
    flops: l.flops,
    bytes: l.a.bytes + b.bytes + l.c.bytes + (moments?.partial.bytes ?? 0),
  });
}

/** Those that a kernel leaves of the map that it makes, a chunk for each of its tiles; undefined for kernels that leave none. */
function momentsOf(to: Lowering, choice: ConvChoice, problem: ConvProblem, rowsPer: number): Moments | undefined {
  const able =
    choice.kernel === "tiled" ||
    choice.kernel === "wide" ||
    (choice.kernel === "matrix" && leavesMoments(to.profile, choice.tile));
  if (!able || tiledElements(problem).ELEM !== 4) return undefined;
  const chunks = Math.ceil(problem.rows / rowsPer);
  return { chunk: rowsPer, chunks, partial: to.scratch("moments", [2, chunks, problem.groups * problem.cols]) };
}

/** The parts of a sum, which have workgroups of their own, and slices of each. */
interface Split {
  readonly parts: number;
  readonly slices: number;
}

function splitOf(choice: ConvChoice, problem: ConvProblem): Split {
  const size = sizeOf(choice);
  return size ? partsOf(problem, size) : { parts: 1, slices: 0 };
}

/** The product alone, as parts of its sums: [parts, groups, rows, cols]. A part and a group of it are a group of c to the kernels. */
function unfinished({ bias, scale, shift, residual, moments, ...l }: ConvLaunch, parts: Tensor): ConvLaunch {
  const [, height, width] = l.rows;
  const { cols } = l;
  const [image, row] = [height * width * cols, width * cols];
  const cStrides = { image, row, pixel: cols, group: l.rows[0] * image };
  return { ...l, c: parts, cStrides, cStart: 0, relu: false };
}

/** Adds the parts up, and does what a kernel does with a finished sum (shaders/conv_parts.wgsl). */
function finish(to: Lowering, { c, cStrides, ...l }: ConvLaunch, problem: ConvProblem, parts: Tensor): void {
  const { ELEM: elem } = tiledElements(problem);
  const t = (floats: number) => floats / elem;
  const [count] = parts.shape;
  const size = t(parts.size / count);
  const { bias, scale, shift, residual } = l;
  to.dispatch({
    kernel: {
      shader: "conv_parts",
      defines: {
        ELEM: elem,
        POINTWISE: problem.pointwise,
        ...epilogueDefines(l, elem),
        C: stored(c, elem),
      },
    },
    bindings: { parts, c, bias, scale, shift, residual },
    params: {
      size,
      parts: count,
      rows: problem.rows,
      cols: t(l.cols),
      outH: l.rows[1],
      outW: l.rows[2],
      cImage: t(cStrides.image),
      cRow: t(cStrides.row),
      cPixel: t(cStrides.pixel),
      cGroup: t(cStrides.group),
      cStart: t(l.cStart),
      relu: Number(l.relu),
    },
    workgroups: flat(size),
    bytes: parts.bytes + (residual ? 2 : 1) * c.bytes,
  });
}

/** Those of conv_epilogue.wgsl. */
const epilogueDefines = ({ bias, scale, residual }: EpilogueOperands, elem: 1 | 2 | 4): Defines => ({
  BIAS: bias !== undefined,
  AFFINE: scale !== undefined,
  RESIDUAL: residual !== undefined,
  ...(residual && { R: stored(residual, elem) }),
});

/** Of conv_wide.wgsl: what is stored as float16 comes eight at a time. */
const eightsDefines = (l: ConvLaunch, b: Tensor): Defines => ({
  ...epilogueDefines(l, 4),
  ...(l.residual && { R: storedEights(l.residual), HALF_R: l.residual.dtype === "f16" }),
  A: storedEights(l.a),
  HALF_A: l.a.dtype === "f16",
  B: storedEights(b),
  HALF_B: b.dtype === "f16",
  C: storedEights(l.c),
  HALF_C: l.c.dtype === "f16",
});

/**
 * What is read as [taps, inner, cols]; as it is by a stationary kernel, where whole vectors of four lie along either side, and by a wide one.
 * The latter alone reads halves.
 */
function operandB({ b, turned, inner, ...l }: ConvLaunch, { kernel }: ConvChoice, elem: number) {
  const wide = kernel === "wide";
  const turns =
    turned &&
    (wide
      ? inEights([turned.column, turned.group])
      : kernel === "stationary" && elem === 4 && alignment([inner, turned.column, turned.group]) === 4);
  const operand = turned && turns ? turned.b : b();
  if (operand.dtype === "f16" && !wide) throw new Error(`the ${kernel} kernel reads no halves of weights`);
  const t = (floats: number) => floats / elem;
  const places = { bTap: l.bTap.map(t), bStart: t(l.bStart) };
  return turned && turns
    ? { b: operand, ...places, bStride: t(turned.column), bGroup: t(turned.group), turned: true }
    : { b: operand, ...places, bStride: t(l.bStride), bGroup: t(l.bGroup), turned: false };
}

/** Floats in the types of columns and of the gathered operand, and columns of a tile in that type. */
function elements(
  choice: ConvChoice,
  problem: ConvProblem,
): { elem: 1 | 2 | 4 | 8; aElem: 1 | 4 | 8; colsPer: number } {
  if (choice.kernel === "stationary") {
    const { elem, aElem, lanes, tv } = choice.tile;
    return { elem, aElem, colsPer: lanes * tv };
  }
  if (choice.kernel === "registers")
    return { elem: choice.tile.elem, aElem: 1, colsPer: choice.tile.lanesX * choice.tile.tv };
  const { ELEM, AELEM } = tiledElements(problem);
  const [elem, aElem] = choice.kernel === "wide" ? ([8, 8] as const) : [ELEM, AELEM];
  return { elem, aElem, colsPer: sizeOf(choice)!.cols / elem };
}

/** Rows of a workgroup, of so many; `others` tiles stand beside it. */
function rowsOf(choice: ConvChoice, rows: number, others: number): number {
  if (choice.kernel === "stationary") return stationaryRows(rows, others);
  return choice.kernel === "registers" ? choice.tile.lanesY * choice.tile.tm : sizeOf(choice)!.rows;
}

function kernelOf(
  profile: DeviceProfile,
  choice: ConvChoice,
  problem: ConvProblem,
  defines: Defines,
  inside: boolean,
  turned: boolean,
): KernelSpec {
  if (choice.kernel === "stationary")
    return { shader: "conv_stationary", defines: { ...stationaryDefines(choice.tile, turned), ...defines } };
  if (choice.kernel === "tiled") return tiledKernel(problem, choice.tile, defines);
  if (choice.kernel === "matrix") return matrixKernel(profile, problem, choice.tile, defines);
  if (choice.kernel === "wide") return wideKernel(profile, problem, choice.tile, defines, turned);
  const { tile } = choice;
  return {
    shader: "conv",
    defines: { ...tileDefines(tile, { PADDED: !inside }), ...defines },
    overrides: { LX: tile.lanesX, LY: tile.lanesY },
  };
}

/** Whether output pixel n is made of source pixel n, and both maps are whole in memory: a plain product of matrices. */
function isPointwise({ taps, mul, add, rows, source, aStrides, cStrides }: ConvLaunch): boolean {
  const [images, height, width] = rows;
  const whole = (s: Strides) =>
    (height === 1 || s.row === width * s.pixel) && (images === 1 || s.image === height * width * s.pixel);
  return (
    taps.every((n) => n === 1) &&
    mul.every((n) => n === 1) &&
    add.every((n) => n === 0) &&
    source[0] === height &&
    source[1] === width &&
    whole(aStrides) &&
    whole(cStrides)
  );
}
