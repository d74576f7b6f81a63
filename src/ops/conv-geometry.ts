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

/** How a kernel for software adapters divides a product (shaders/conv_stationary.wgsl). */
export interface StationaryTile {
  /** Floats in the type of columns, and such elements per lane. */
  readonly elem: 1 | 2 | 4;
  readonly tv: number;
  /** Neighbours along the sum that a lane loads at once. */
  readonly aElem: 1 | 4;
  /** Terms of the sum that are held while the rows go by. */
  readonly chunk: number;
  readonly lanes: number;
  /** 1: what is held is loaded by code that is written out, as pays where loads are gathers; 0: by a loop. */
  readonly unrolled: number;
}

/** Terms that may be held: the most, then those of which a sum of 64 and below, or of 192, wastes fewer. */
export const CHUNKS: readonly number[] = [128, 96, 64, 32, 24];

/**
 * The tile where one operand stays in memory that is private to a subgroup, for adapters on which that pays: software with
 * subgroups of a known size. Null elsewhere, and for products of so few rows that holding columns is not worth it.
 * @param multiple what all column strides and offsets are multiples of
 * @param inner length of the sum, or of its contiguous parts
 * @param aMultiple what `inner` and all strides of the other operand are multiples of
 */
export function chooseStationary(
  profile: DeviceProfile,
  { rows, cols, multiple, inner, aMultiple }: Record<"rows" | "cols" | "multiple" | "inner" | "aMultiple", number>,
): StationaryTile | null {
  const lanes = profile.subgroupSize;
  if (!profile.software || rows < 16 || ![4, 8, 16].includes(lanes)) return null;
  const fits = (n: number) => cols % n === 0 && multiple % n === 0;
  const elem = fits(4) && cols > 2 * lanes ? 4 : fits(2) && cols > lanes ? 2 : 1;
  // Two columns a lane halve the loads of the other operand, where no lane lacks one.
  const tv = elem === 4 ? (cols % (8 * lanes) === 0 ? 2 : 1) : Math.min(4 / elem, Math.ceil(cols / (elem * lanes)));
  const aElem = inner % 4 === 0 && aMultiple % 4 === 0 ? 4 : 1;
  // 512 floats a lane are half of a core's first cache. A chunk costs as its terms and, for c, some 40 of them. Where loads are gathers
  // twice as many would be 7 to 11% faster, but LLVM takes three times as long for them.
  const cost = (chunk: number) => Math.ceil(inner / chunk) * (chunk + 40);
  const fitting = CHUNKS.filter((n) => n % (lanes * aElem) === 0 && n * elem * tv <= 512);
  const chunk = fitting.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  return { elem, tv, aElem, chunk, lanes, unrolled: Number(profile.gathers === true) };
}

/** Rows of a workgroup: enough to be worth the columns it holds, few enough to occupy all cores. */
export function stationaryRows(rows: number, otherTiles: number): number {
  const blocks = Math.max(Math.ceil(rows / 2048), Math.min(Math.ceil(16 / otherTiles), Math.floor(rows / 128)));
  return Math.ceil(rows / Math.max(1, blocks));
}

/** @param turned whether four terms of what is held lie side by side (conv_stationary.wgsl: TURNED) */
export function stationaryDefines(
  { elem, tv, aElem, chunk, lanes, unrolled }: StationaryTile,
  turned = false,
): Record<string, number | boolean> {
  const perBlock = Math.min(lanes, 8 / aElem);
  // Terms that are loaded together: as many as lie in a line of 16 floats, or lines enough to wait for at once.
  const step = unrolled ? (turned && chunk % 16 === 0 ? 16 : 8) : turned ? 4 : 1;
  return {
    ELEM: elem,
    TV: tv,
    AELEM: aElem,
    KC: chunk,
    SG: lanes,
    VECTORS: chunk / (lanes * aElem),
    BLOCKS: lanes / perBlock,
    LANES: perBlock,
    UNROLLED: unrolled === 1,
    STEP: step,
    TURNED: turned,
    ...(turned && { FOURS: step / 4 }),
    ...(unrolled && {
      STEPS: chunk / step,
      LINES: Math.ceil(chunk / 16),
      COLUMNS: lanes * tv * elem,
      COLUMN_LINES: Math.ceil((lanes * tv * elem) / 16),
    }),
  };
}

export function tileDefines(tile: Tile, flags: Readonly<Record<string, boolean>>): Record<string, number | boolean> {
  return { ELEM: tile.elem, TM: tile.tm, TV: tile.tv, ...flags };
}
