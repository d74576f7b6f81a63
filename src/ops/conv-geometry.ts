/** Sizes of a convolution and the choice of its tile: pure functions of shapes and device profile. */
import type { DeviceProfile } from "../gpu/device.js";
import type { Shape } from "../graph/tensor.js";

export interface ConvAttrs {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly groups: number;
  /** What a group takes of the input: a share of its channels, or a horizontal stripe of its rows. */
  readonly split: "channels" | "rows";
}

export interface ConvGeometry extends ConvAttrs {
  readonly images: number;
  /** Input size of one group. */
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly groupChannels: number;
  readonly kernel: readonly [number, number];
  readonly outHeight: number;
  readonly outWidth: number;
  readonly filters: number;
  readonly groupFilters: number;
}

/**
 * @param x [N, H, W, Cin]
 * @param w [kh, kw, Cin / groups, Cout], or [kh, kw, Cin, Cout] where groups are stripes of rows
 * @throws what does not fit
 */
export function convGeometry(x: Shape, w: Shape, attrs: ConvAttrs): ConvGeometry {
  if (x.length !== 4) throw new Error(`conv2d takes an NHWC map, got [${x}]`);
  if (w.length !== 4) throw new Error(`conv2d takes weights [kh, kw, Cin / groups, Cout], got [${w}]`);
  const { stride, padding, groups, split } = attrs;
  const [images, rows, width, channels] = x;
  const [kh, kw, groupChannels, filters] = w;
  const byRows = split === "rows";
  if (byRows && rows % groups !== 0) throw new Error(`${groups} stripes do not divide ${rows} rows`);
  if (filters % groups !== 0) throw new Error(`${groups} groups do not divide ${filters} filters`);
  const expected = byRows ? channels : channels / groups;
  if (groupChannels !== expected) {
    throw new Error(`weights [${w}] take ${groupChannels} channels a group, the input [${x}] has ${expected}`);
  }
  const height = byRows ? rows / groups : rows;
  const outHeight = Math.floor((height + 2 * padding[0] - kh) / stride[0]) + 1;
  const outWidth = Math.floor((width + 2 * padding[1] - kw) / stride[1]) + 1;
  if (outHeight < 1 || outWidth < 1) throw new Error(`kernel ${kh} x ${kw} is larger than the padded input [${x}]`);
  return {
    ...attrs,
    images,
    height,
    width,
    channels,
    groupChannels,
    kernel: [kh, kw],
    outHeight,
    outWidth,
    filters,
    groupFilters: filters / groups,
  };
}

/** Multiplications and additions of the forward pass, each gradient costs as many. */
export function convFlops(g: ConvGeometry): number {
  return 2 * g.images * g.outHeight * g.outWidth * g.filters * g.kernel[0] * g.kernel[1] * g.groupChannels;
}

/** Strides of an NHWC map in floats, with what one group adds. */
export function mapStrides(
  g: ConvGeometry,
  side: "input" | "output",
): { image: number; row: number; pixel: number; group: number } {
  if (side === "output") {
    const row = g.outWidth * g.filters;
    return { image: g.outHeight * row, row, pixel: g.filters, group: g.groupFilters };
  }
  const row = g.width * g.channels;
  if (g.split === "rows") return { image: g.groups * g.height * row, row, pixel: g.channels, group: g.height * row };
  return { image: g.height * row, row, pixel: g.channels, group: g.groupChannels };
}

/** A map of so few channels that whole rows of taps are read as one run from a padded copy (the RGB stem). */
export function foldsTaps(g: ConvGeometry): boolean {
  return g.groups === 1 && g.groupChannels <= 4 && g.kernel[1] > 1;
}

export interface Tile {
  /** Floats in the type that lanes load: 4, 2 or 1. */
  readonly elem: 1 | 2 | 4;
  /** Elements of that type per invocation. */
  readonly tv: number;
  /** Rows per invocation. */
  readonly tm: number;
  readonly lanesX: number;
  readonly lanesY: number;
}

/**
 * The tile for a product of `rows` x `cols`; lanes run along the columns. A lane that has no column is a wasted lane, so
 * narrow outputs take narrower types rather than fewer lanes.
 * @param multiple what all column strides and offsets are multiples of
 */
export function chooseTile(profile: DeviceProfile, rows: number, cols: number, multiple: number): Tile {
  const lanesX = profile.software ? 8 : 16;
  const lanesY = profile.software ? 2 : 4;
  const aligned = (n: number) => cols % n === 0 && multiple % n === 0;
  const elem = aligned(4) && cols >= 4 * lanesX ? 4 : aligned(2) && cols >= 2 * lanesX ? 2 : 1;
  const wanted = Math.ceil(cols / (lanesX * elem));
  const tv =
    elem === 4 ? Math.min(2, wanted) : elem === 2 ? Math.min(2, wanted) : wanted >= 4 ? 4 : wanted >= 2 ? 2 : 1;
  const tallest = profile.software ? 16 : 8;
  const tm = rows >= tallest ? tallest : rows >= 8 ? 8 : rows >= 4 ? 4 : 1;
  return { elem, tv, tm, lanesX, lanesY };
}
