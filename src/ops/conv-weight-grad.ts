import type { DeviceProfile } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import { grid, type Lowering } from "../graph/lowering.js";
import type { Tensor } from "../graph/tensor.js";
import {
  alignment,
  type ConvChoice,
  type ConvProblem,
  chooseConv,
  inEights,
  sizeOf,
  turnsWeightGrad,
} from "./conv-choice.js";
import {
  type ConvGeometry,
  convFlops,
  mapStrides,
  type StationaryTile,
  stationaryDefines,
  type Tile,
  tileDefines,
} from "./conv-geometry.js";
import { matrixKernel } from "./conv-matrix.js";
import { pixelsPerSplit, tiledElements, tiledKernel } from "./conv-tiles.js";
import { wideKernel } from "./conv-wide.js";
import { inHalves, stored, storedEights } from "./lanes.js";
import { dispatchTranspose } from "./layout.js";
import { partialSums, sumPartials } from "./partials.js";

/** How many workgroups keep an adapter busy: the reduction is split until there are as many. */
const wantedWorkgroups = (software: boolean) => (software ? 16 : 1024);

/**
 * Weight gradient: the sum over all output pixels, split along image rows where there are too few tiles to fill the
 * adapter, partial sums added in fixed order.
 * @param source the padded copy of x with folded taps, or null to gather from x itself
 */
export function lowerConvWeightGrad(
  g: ConvGeometry,
  source: { height: number; width: number } | null,
  { x, dy, dw }: { x: Tensor; dy: Tensor; dw: Tensor },
  to: Lowering,
): void {
  const [kh, kw] = g.kernel;
  const inner = source ? kw * g.channels : g.groupChannels;
  const taps = source ? kh : kh * kw;
  const xs = source
    ? { image: source.height * source.width * g.channels, row: source.width * g.channels, pixel: g.channels, group: 0 }
    : mapStrides(g, "input");
  const pixels = g.images * g.outHeight * g.outWidth;
  const problem: ConvProblem = {
    gather: "weightGrad",
    rows: inner,
    cols: g.groupFilters,
    inner: pixels,
    taps,
    stride: g.stride,
    groups: g.groups,
    multiple: alignment([g.filters]),
    aMultiple: alignment([...Object.values(xs), inner]),
    pointwise:
      kh === 1 &&
      kw === 1 &&
      g.stride.every((s) => s === 1) &&
      g.padding.every((p) => p === 0) &&
      g.split === "channels",
    eights: inEights([...Object.values(xs), inner, g.filters, g.groupFilters]),
    halves: inHalves({ a: x, b: dy }),
  };
  const way = { g, problem, source, xs };
  const choice = chooseConv(to.profile, problem);
  if (choice.kernel === "stationary") lowerStationary(way, choice.tile, { x, dy, dw }, to);
  else if (choice.kernel === "registers") lowerRegisters(way, choice.tile, { x, dy, dw }, to);
  else {
    const layout: TiledLayout = {
      groups: g.groups,
      filters: g.groupFilters,
      tapsX: source ? 1 : kw,
      source: [source?.height ?? g.height, source?.width ?? g.width],
      out: [g.outHeight, g.outWidth],
      stride: g.stride,
      pad: source ? [0, 0] : g.padding,
      xs,
      dPixel: g.filters,
      dGroup: g.groupFilters,
      wStride: g.filters,
      wGroup: g.groupFilters,
      flops: convFlops(g),
    };
    lowerTiled(layout, problem, choice, { x, dy, dw }, to);
  }
}

interface Way {
  readonly g: ConvGeometry;
  readonly problem: ConvProblem;
  readonly source: { height: number; width: number } | null;
  /** Strides of x, or of its padded copy. */
  readonly xs: ReturnType<typeof mapStrides>;
}

type Operands = Record<"x" | "dy" | "dw", Tensor>;

function lowerRegisters({ g, problem, source, xs }: Way, tile: Tile, { x, dy, dw }: Operands, to: Lowering): void {
  const { rows: inner, inner: pixels, taps, pointwise } = problem;
  const ds = mapStrides(g, "output");
  const t = (floats: number) => floats / tile.elem;

  const innerTiles = Math.ceil(inner / tile.tm);
  const units = taps * innerTiles;
  const colTiles = Math.ceil(t(g.groupFilters) / (tile.lanesX * tile.tv));
  const tiles = Math.ceil(units / tile.lanesY) * colTiles;

  const allLines = pointwise ? Math.ceil(pixels / 64) : g.images * g.outHeight;
  const wanted = Math.ceil(wantedWorkgroups(to.profile.software) / (tiles * g.groups));
  const linesPerSplit = Math.ceil(allLines / Math.max(1, Math.min(wanted, allLines)));
  const splits = Math.ceil(allLines / linesPerSplit);
  // A pointwise convolution knows no picture: all pixels form lines of 64, the last one ragged.
  const lines = pointwise
    ? { outH: 1, outW: 64, inH: 1, inW: 64, xImage: 64 * xs.pixel, xRow: 0, dImage: t(64 * ds.pixel), dRow: 0, pixels }
    : {
        outH: g.outHeight,
        outW: g.outWidth,
        inH: source?.height ?? g.height,
        inW: source ? (g.outWidth - 1) * g.stride[1] + 1 : g.width,
        xImage: xs.image,
        xRow: xs.row,
        dImage: t(ds.image),
        dRow: t(ds.row),
        pixels,
      };

  const { partial, padded } = partialSums(to, dw, splits);
  const [gx, gy] = grid(tiles);
  to.dispatch({
    kernel: {
      shader: "conv_weight_grad",
      defines: { ...tileDefines(tile, {}), X: stored(x, 1), DY: stored(dy, tile.elem) },
      overrides: { LX: tile.lanesX, LY: tile.lanesY },
    },
    problem,
    bindings: { x, dy, dw: partial },
    params: {
      ...lines,
      cols: t(g.groupFilters),
      colTiles,
      inner,
      innerTiles,
      units,
      tapsX: source ? 1 : g.kernel[1],
      lines: allLines,
      linesPerSplit,
      splits,
      stride: g.stride,
      pad: source ? [0, 0] : g.padding,
      xPixel: xs.pixel,
      xGroup: xs.group,
      dPixel: t(ds.pixel),
      dGroup: t(ds.group),
      wStride: t(g.filters),
      wGroup: t(g.groupFilters),
      wSplit: t(padded),
    },
    workgroups: [gx, gy, g.groups * splits],
    flops: convFlops(g),
    bytes: x.bytes + dy.bytes + partial.bytes,
  });
  sumPartials(to, partial, dw);
}

type TiledChoice = Extract<ConvChoice, { kernel: "tiled" | "matrix" | "wide" }>;

/** How the operands of a tiled weight gradient lie: sizes in pixels, distances in floats. */
interface TiledLayout {
  readonly groups: number;
  /** Of one group. */
  readonly filters: number;
  /** Taps along a row. */
  readonly tapsX: number;
  /** Height and width of x, and of dy. */
  readonly source: readonly [number, number];
  readonly out: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly pad: readonly [number, number];
  readonly xs: ReturnType<typeof mapStrides>;
  readonly dPixel: number;
  readonly dGroup: number;
  readonly wStride: number;
  readonly wGroup: number;
  readonly flops: number;
}

/**
 * With workgroup memory, for GPUs (shaders/conv_weight_grad_tiled.wgsl), or on matrix units (conv_weight_grad_matrix.wgsl,
 * conv_weight_grad_wide.wgsl).
 */
export function lowerTiled(
  l: TiledLayout,
  problem: ConvProblem,
  choice: TiledChoice,
  { x, dy, dw }: Operands,
  to: Lowering,
): void {
  const { rows: inner, inner: pixels, taps } = problem;
  const { ELEM } = tiledElements(problem);
  const elem = choice.kernel === "wide" ? 8 : ELEM;
  const size = sizeOf(choice)!;
  const t = (floats: number) => floats / elem;
  const rows = taps * inner;
  const colTiles = Math.ceil(l.filters / size.cols);
  const perSplit = pixelsPerSplit(to.profile, problem, size);
  const splits = Math.ceil(pixels / perSplit);
  const { partial, padded } = partialSums(to, dw, splits);
  const [gx, gy] = grid(colTiles * Math.ceil(rows / size.rows));
  const [outH, outW] = l.out;
  const perImage = outH * outW;
  to.dispatch({
    kernel: kernelOf(to.profile, choice, problem, { x, dy, dw }),
    problem,
    bindings: { x, b: dy, dw: partial },
    params: {
      rows,
      cols: t(l.filters),
      colTiles,
      inner,
      tapsX: l.tapsX,
      pixels,
      pixelsPerSplit: perSplit,
      splits,
      outH,
      outW,
      inH: l.source[0],
      inW: l.source[1],
      advance: [Math.floor(size.depth / perImage), Math.floor((size.depth % perImage) / outW), size.depth % outW],
      stride: l.stride,
      pad: l.pad,
      xImage: l.xs.image,
      xRow: l.xs.row,
      xPixel: l.xs.pixel,
      xGroup: l.xs.group,
      dPixel: t(l.dPixel),
      dGroup: t(l.dGroup),
      wStride: t(l.wStride),
      wGroup: t(l.wGroup),
      wSplit: t(padded),
    },
    workgroups: [gx, gy, l.groups * splits],
    flops: l.flops,
    bytes: x.bytes + dy.bytes + partial.bytes,
  });
  sumPartials(to, partial, dw);
}

function kernelOf(
  profile: DeviceProfile,
  { kernel, tile }: TiledChoice,
  problem: ConvProblem,
  { x, dy }: Operands,
): KernelSpec {
  if (kernel === "wide") {
    const halves = { HALF_A: x.dtype === "f16", HALF_B: dy.dtype === "f16" };
    return wideKernel(profile, problem, tile, { X: storedEights(x), DY: storedEights(dy), ...halves });
  }
  const { ELEM, AELEM } = tiledElements(problem);
  const types = { X: stored(x, AELEM), DY: stored(dy, ELEM) };
  return kernel === "matrix" ? matrixKernel(profile, problem, tile, types) : tiledKernel(problem, tile, types);
}

/**
 * For software adapters: dy is transposed first, and dw comes out transposed (shaders/conv_weight_grad_stationary.wgsl); or, where
 * a pointwise product makes that cheaper, x is transposed and dw comes out as it should.
 */
function lowerStationary(way: Way, tile: StationaryTile, { x, dy, dw }: Operands, to: Lowering): void {
  if (!turnsWeightGrad(way.problem)) {
    lowerHeld(way, tile, { x, dy, dw, turned: false }, to);
    return;
  }
  const { channels, filters } = way.g;
  const g = { ...way.g, channels: filters, groupChannels: filters, filters: channels, groupFilters: channels };
  lowerHeld({ ...way, g, xs: mapStrides(g, "input") }, tile, { x: dy, dy: x, dw, turned: true }, to);
}

function lowerHeld(
  { g, problem, source, xs }: Way,
  tile: StationaryTile,
  { x, dy, dw, turned }: Operands & { turned: boolean },
  to: Lowering,
): void {
  const { inner: pixels, taps } = problem;
  const inner = turned ? g.channels : problem.rows;
  const byFilter = to.scratch("dy", [g.filters, pixels], dy.dtype);
  dispatchTranspose(to, dy, byFilter, pixels, g.filters);
  const product = turned ? dw : to.scratch("transposed", [taps, g.filters, inner]);
  dispatchHeld(to, {
    problem,
    tile,
    x,
    byFilter,
    product,
    filters: g.groupFilters,
    inner,
    groups: g.groups,
    taps: [taps, source ? 1 : g.kernel[1]],
    pixels,
    map: {
      outH: g.outHeight,
      outW: g.outWidth,
      inH: source?.height ?? g.height,
      inW: source?.width ?? g.width,
      stride: g.stride,
      pad: source ? [0, 0] : g.padding,
    },
    xs,
    flops: convFlops(g),
  });
  if (!turned) dispatchTranspose(to, product, dw, g.filters, inner);
}

interface HeldProduct {
  /** Where it is one that can be tuned. */
  readonly problem?: ConvProblem;
  readonly tile: StationaryTile;
  readonly x: Tensor;
  /** [filters of all groups, pixels]. */
  readonly byFilter: Tensor;
  /** [taps, filters of all groups, inner]. */
  readonly product: Tensor;
  /** Of one group. */
  readonly filters: number;
  readonly inner: number;
  readonly groups: number;
  /** All, and along a row. */
  readonly taps: readonly [number, number];
  readonly pixels: number;
  readonly map: Readonly<Record<"outH" | "outW" | "inH" | "inW", number>> &
    Pick<ConvGeometry, "stride"> & {
      readonly pad: readonly [number, number];
    };
  /** Strides of x in floats. */
  readonly xs: ReturnType<typeof mapStrides>;
  readonly flops: number;
}

/** shaders/conv_weight_grad_stationary.wgsl, its sum over pixels split where there are few tiles. */
export function dispatchHeld(to: Lowering, p: HeldProduct): void {
  const { tile, x, byFilter, product, groups, inner, pixels, xs } = p;
  const t = (floats: number) => floats / tile.elem;
  const ta = (floats: number) => floats / tile.aElem;
  const [taps, tapsX] = p.taps;
  const colTiles = Math.ceil(t(inner) / (tile.lanes * tile.tv));
  const chunks = Math.ceil(pixels / tile.chunk);
  const wanted = Math.ceil(wantedWorkgroups(true) / (taps * colTiles * groups));
  const chunksPerSplit = Math.ceil(chunks / Math.max(1, Math.min(wanted, Math.floor(chunks / 4))));
  const splits = Math.ceil(chunks / chunksPerSplit);
  const { partial, padded } = partialSums(to, product, splits);
  const [gx, gy] = grid(taps * colTiles);
  to.dispatch({
    kernel: {
      shader: "conv_weight_grad_stationary",
      defines: { ...stationaryDefines(tile), X: stored(x, tile.elem), DY: stored(byFilter, tile.aElem) },
    },
    problem: p.problem,
    bindings: { x, dy: byFilter, dw: partial },
    params: {
      ...p.map,
      filters: p.filters,
      cols: t(inner),
      colTiles,
      tapsX,
      pixels: ta(pixels),
      pixelsPerSplit: ta(chunksPerSplit * tile.chunk),
      splits,
      xImage: t(xs.image),
      xRow: t(xs.row),
      xPixel: t(xs.pixel),
      xGroup: t(xs.group),
      wTap: t(groups * p.filters * inner),
      wSplit: t(padded),
      none: 0,
    },
    workgroups: [gx, gy, groups * splits],
    flops: p.flops,
    bytes: x.bytes + byFilter.bytes + partial.bytes,
  });
  sumPartials(to, partial, product);
}
