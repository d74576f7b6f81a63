import { grid, type Lowering } from "../graph/lowering.js";
import type { Tensor } from "../graph/tensor.js";
import {
  type ConvGeometry,
  chooseStationary,
  chooseTile,
  convFlops,
  mapStrides,
  stationaryDefines,
} from "./conv-geometry.js";
import { tileDefines } from "./conv2d.js";
import { stored } from "./lanes.js";
import { dispatchTranspose } from "./layout.js";

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
  if (lowerStationary(g, source, { x, dy, dw }, to)) return;
  const [kh, kw] = g.kernel;
  const inner = source ? kw * g.channels : g.groupChannels;
  const taps = source ? kh : kh * kw;
  const xs = inputStrides(g, source);
  const ds = mapStrides(g, "output");
  const tile = chooseTile(to.profile, inner, g.groupFilters, g.filters % 4 === 0 ? 4 : g.filters % 2 === 0 ? 2 : 1);
  const t = (floats: number) => floats / tile.elem;

  const innerTiles = Math.ceil(inner / tile.tm);
  const units = taps * innerTiles;
  const colTiles = Math.ceil(t(g.groupFilters) / (tile.lanesX * tile.tv));
  const tiles = Math.ceil(units / tile.lanesY) * colTiles;

  const pointwise = isPointwise(g);
  const pixels = g.images * g.outHeight * g.outWidth;
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

  const padded = Math.ceil(dw.size / 4) * 4;
  const partial = splits > 1 ? to.scratch("partial", [splits, padded]) : dw;
  const [gx, gy] = grid(tiles);
  to.dispatch({
    kernel: {
      shader: "conv_weight_grad",
      defines: { ...tileDefines(tile, {}), X: stored(x, 1), DY: stored(dy, tile.elem) },
      overrides: { LX: tile.lanesX, LY: tile.lanesY },
    },
    bindings: { x, dy, dw: partial },
    params: {
      ...lines,
      cols: t(g.groupFilters),
      colTiles,
      inner,
      innerTiles,
      units,
      tapsX: source ? 1 : kw,
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
  if (splits > 1) sumPartials(to, partial, dw);
}

/** Whether a convolution is one product of all pixels. */
function isPointwise({ kernel, stride, padding, split }: ConvGeometry): boolean {
  return [...kernel, ...stride].every((n) => n === 1) && padding.every((p) => p === 0) && split === "channels";
}

type Source = { readonly height: number; readonly width: number } | null;

function inputStrides(g: ConvGeometry, source: Source): ReturnType<typeof mapStrides> {
  return source
    ? { image: source.height * source.width * g.channels, row: source.width * g.channels, pixel: g.channels, group: 0 }
    : mapStrides(g, "input");
}

/**
 * The same for software adapters: dy is transposed first, and dw comes out transposed (shaders/conv_weight_grad_stationary.wgsl);
 * or, where a pointwise product makes that cheaper, x is transposed and dw comes out as it should.
 * @returns false where `chooseStationary` does not want it
 */
function lowerStationary(
  g: ConvGeometry,
  source: Source,
  { x, dy, dw }: { x: Tensor; dy: Tensor; dw: Tensor },
  to: Lowering,
): boolean {
  const pixels = g.images * g.outHeight * g.outWidth;
  const turns = isPointwise(g) && g.groups === 1 && g.channels * pixels < g.filters * (pixels + g.channels);
  return turns
    ? lowerHeld({ ...g, ...exchanged(g) }, null, { x: dy, dy: x, dw, turned: true }, to)
    : lowerHeld(g, source, { x, dy, dw, turned: false }, to);
}

function exchanged({ channels, filters }: ConvGeometry): Partial<ConvGeometry> {
  return { channels: filters, groupChannels: filters, filters: channels, groupFilters: channels };
}

function lowerHeld(
  g: ConvGeometry,
  source: Source,
  { x, dy, dw, turned }: { x: Tensor; dy: Tensor; dw: Tensor; turned: boolean },
  to: Lowering,
): boolean {
  const [kh, kw] = g.kernel;
  const inner = source ? kw * g.channels : g.groupChannels;
  const taps = source ? kh : kh * kw;
  const xs = inputStrides(g, source);
  const strides = [...Object.values(xs), inner];
  const pixels = g.images * g.outHeight * g.outWidth;
  const tile = chooseStationary(to.profile, {
    rows: g.groupFilters,
    cols: inner,
    multiple: [4, 2].find((n) => strides.every((s) => s % n === 0)) ?? 1,
    inner: pixels,
    aMultiple: 4,
  });
  if (!tile) return false;
  const byFilter = to.scratch("dy", [g.filters, pixels], dy.dtype);
  dispatchTranspose(to, dy, byFilter, pixels, g.filters);

  const t = (floats: number) => floats / tile.elem;
  const ta = (floats: number) => floats / tile.aElem;
  const colTiles = Math.ceil(t(inner) / (tile.lanes * tile.tv));
  const chunks = Math.ceil(pixels / tile.chunk);
  const wanted = Math.ceil(wantedWorkgroups(true) / (taps * colTiles * g.groups));
  const chunksPerSplit = Math.ceil(chunks / Math.max(1, Math.min(wanted, Math.floor(chunks / 4))));
  const splits = Math.ceil(chunks / chunksPerSplit);
  const padded = Math.ceil(dw.size / 4) * 4;
  const transposed = turned ? dw : to.scratch("transposed", [taps, g.filters, inner]);
  const partial = splits > 1 ? to.scratch("partial", [splits, padded]) : transposed;
  const [gx, gy] = grid(taps * colTiles);
  to.dispatch({
    kernel: {
      shader: "conv_weight_grad_stationary",
      defines: { ...stationaryDefines(tile), X: stored(x, tile.elem), DY: stored(byFilter, tile.aElem) },
    },
    bindings: { x, dy: byFilter, dw: partial },
    params: {
      filters: g.groupFilters,
      cols: t(inner),
      colTiles,
      tapsX: source ? 1 : g.kernel[1],
      pixels: ta(pixels),
      pixelsPerSplit: ta(chunksPerSplit * tile.chunk),
      splits,
      outH: g.outHeight,
      outW: g.outWidth,
      inH: source?.height ?? g.height,
      inW: source?.width ?? g.width,
      stride: g.stride,
      pad: source ? [0, 0] : g.padding,
      xImage: t(xs.image),
      xRow: t(xs.row),
      xPixel: t(xs.pixel),
      xGroup: t(xs.group),
      wTap: t(g.filters * inner),
      wSplit: t(padded),
    },
    workgroups: [gx, gy, g.groups * splits],
    flops: convFlops(g),
    bytes: x.bytes + dy.bytes + partial.bytes,
  });
  if (splits > 1) sumPartials(to, partial, transposed);
  if (!turned) dispatchTranspose(to, transposed, dw, g.filters, inner);
  return true;
}

function sumPartials(to: Lowering, partial: Tensor, y: Tensor): void {
  const [splits, padded] = partial.shape;
  to.dispatch({
    kernel: { shader: "sum_partials" },
    bindings: { partial, y },
    params: { size: padded / 4, splits },
    workgroups: grid(Math.ceil(padded / 256)),
    bytes: partial.bytes + y.bytes,
  });
}
