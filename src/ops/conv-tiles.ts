/** The ladder of tiles for GPUs (shaders/conv_tiled.wgsl, conv_weight_grad_tiled.wgsl): pure functions of shapes and profile. */
import type { DeviceProfile } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { Defines } from "../gpu/shader.js";
import type { ConvProblem } from "./conv-choice.js";

/** What a workgroup makes and how it goes about it; numbers alone, as it is kept in a file of tuned choices. */
export interface WorkgroupTile {
  /** Rows per invocation, and `vec4` of columns. */
  readonly tm: number;
  readonly tv: number;
  readonly lanesX: number;
  readonly lanesY: number;
  /** Terms of the sum that are staged at a time: 8, 16 or 32. */
  readonly depth: number;
  /** Slices in workgroup memory at a time: with 2, a slice takes one barrier in place of two. */
  readonly buffers: number;
  /** 1: the next slice is loaded into registers while this one is multiplied. */
  readonly prefetch: number;
  /** As of `TileSize`. */
  readonly perUnit: number;
  readonly splits: number;
}

/** Rows and columns of the outputs that a workgroup makes, and terms of the sum that it stages at a time. */
export interface TileSize {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  /** Into how many workgroups for each of a GPU's units the sum of a weight gradient is split; `PER_UNIT` for all else. */
  readonly perUnit: number;
  /** Workgroups that share the sums of a tile: 1, 2, 4, 8 or 16; 1 for a weight gradient, which goes by `perUnit`. */
  readonly splits: number;
}

/** Two, one of which multiplies while the other one waits. */
export const PER_UNIT = 2;

/** Whether a sum may be split so: that of a weight gradient as finely as a tuner likes. */
export const splitFits = (gather: ConvProblem["gather"], perUnit: number): boolean =>
  gather === "weightGrad" ? [1, 2, 4, 8].includes(perUnit) : perUnit === PER_UNIT;

export const tileSize = ({ tm, tv, lanesX, lanesY, depth, perUnit, splits }: WorkgroupTile): TileSize => ({
  rows: lanesY * tm,
  cols: lanesX * tv * 4,
  depth,
  perUnit,
  splits,
});

const tile = (tm: number, tv: number, lanesX: number, lanesY: number, depth: number, buffers = 1): WorkgroupTile => ({
  tm,
  tv,
  lanesX,
  lanesY,
  depth,
  buffers,
  prefetch: 1,
  perUnit: PER_UNIT,
  splits: 1,
});

/**
 * Rungs by rows x columns of the tile, outputs of an invocation and, where two have the same, terms at a time. All fit the 16 KiB and 256
 * invocations of any adapter but for 128 x 128 with 16 terms, 18 KiB, which is passed by where there is less.
 */
export const RUNGS = {
  "128x128, 8x8": tile(8, 2, 16, 16, 8),
  "128x128, 8x8, depth 16": tile(8, 2, 16, 16, 16),
  "128x64, 8x8": tile(8, 2, 8, 16, 8),
  "128x64, 8x8, depth 16": tile(8, 2, 8, 16, 16),
  "128x64, 8x4": tile(8, 1, 16, 16, 16),
  "64x128, 8x8": tile(8, 2, 16, 8, 16),
  "64x64, 8x8": tile(8, 2, 8, 8, 16),
  "64x64, 8x4": tile(8, 1, 16, 8, 16),
  "64x64, 8x4, depth 8": tile(8, 1, 16, 8, 8),
  "64x64, 4x4": tile(4, 1, 16, 16, 16),
  "32x64, 8x4": tile(8, 1, 16, 4, 16),
  "32x32, 4x4": tile(4, 1, 8, 8, 16),
  "32x32, 2x4": tile(2, 1, 8, 16, 16),
} as const satisfies Record<string, WorkgroupTile>;

interface Ladder {
  /** Largest first. */
  readonly rungs: readonly WorkgroupTile[];
  /** Those of weight gradients where they are others: of pointwise ones, and of those that gather. */
  readonly weightGrad?: { readonly pointwise: readonly WorkgroupTile[]; readonly gathered: readonly WorkgroupTile[] };
  /** Slices that a sum must have for a rung of 8 x 8 outputs an invocation: 0 where nothing is known of that. */
  readonly slices: number;
  /**
   * Workgroups that keep the machine busy, some `PER_UNIT` for each of its units: a rung must make as many to be taken. With fewer, the rest
   * of the machine waits for the units that have one more.
   */
  readonly fill: number;
}

const rungs = (...names: readonly (keyof typeof RUNGS)[]): readonly WorkgroupTile[] => names.map((name) => RUNGS[name]);

/** For weight gradients of few rows or columns: one tile, or a few, whose sums are split for twice as many workgroups as others'. */
const NARROW: WorkgroupTile = { ...RUNGS["64x64, 8x8"], perUnit: 4 };

/**
 * NVIDIA's, measured on an H200 (132 multiprocessors, 63.3 TFLOP/s of multiply-adds in float32; 26 November 2026): 29 to 35 tiles for
 * each of the 113 problems that MPN has at 384 x 128, in inference at batch 32 and training at batch 48, the products of Winograd's transforms
 * included.
 * - Forward and input gradient: 64 x 128, and 128 x 64 where there are 64 columns, take 0 to 5% more than the best tile in all 62 problems
 *   of 16 slices of 16 terms or more that make 288 workgroups or more (35 to 41 TFLOP/s in the large ones). With 192 they take 19 to 34%
 *   more, and 64 x 64 6 to 11%: `fill` lies between.
 * - With fewer slices an invocation of 8 x 8 outputs has too little to do between its start and its end: with 4 or 8 these tiles take 1 to
 *   15% more than 64 x 64 by 8 x 4 and slices of 8 in 12 problems, and 3 to 5% less in 3. So it is with the stem, whose 7 x 21
 *   terms are 14 slices, a third of them zeros: 31% more.
 * - Of the small ones 32 x 64 by 8 x 4 takes a fifth less than 32 x 32, where there are workgroups enough, and 32 x 32 by 4 x 4 a
 *   quarter less than by 2 x 4, whose 128 invocations were expected to keep four schedulers busier (5 and 11% less where workgroups are few).
 * - Weight gradients: 128 x 128 with 256 workgroups (two for each multiprocessor, at once) is within 2% of the best for every pointwise one
 *   with 128 rows and columns or more, and sums of 256 pixels or more. Taps make numbers of tiles that do not divide 256, and a few workgroups more than two for each multiprocessor
 *   take a third more time, so that those that gather are given more and smaller ones: 3 to 11% from the best, where 128 x 128 is 9 to 39%.
 *   With 64 rows or columns 64 x 64 is the best, of which 512 workgroups are wanted.
 * By these numbers the convolutions of an inference take 11.4 ms (15.5 with what was guessed before, 11.3 with the best for each problem), those of a
 * training step 51.4 (76.3, 50.6), Winograd (winograd.ts) included; without it the best would be 12.9 and 59.5.
 */
const NVIDIA: Ladder = {
  rungs: rungs("64x128, 8x8", "128x64, 8x8, depth 16", "64x64, 8x4, depth 8", "32x64, 8x4", "32x32, 4x4"),
  weightGrad: {
    pointwise: [...rungs("128x128, 8x8, depth 16"), NARROW, ...rungs("64x64, 8x4, depth 8", "32x32, 4x4")],
    gathered: [{ ...RUNGS["64x128, 8x8"], perUnit: 4 }, NARROW, ...rungs("64x64, 8x4, depth 8", "32x32, 4x4")],
  },
  slices: 16,
  fill: 256,
};

/**
 * Shipped defaults by `GPUAdapterInfo.vendor`. BUT FOR NVIDIA'S NONE OF THEM IS MEASURED YET: each follows from what is known of the hardware
 * and of other engines, and `mpn tune` finds better ones on the machine at hand.
 */
const LADDERS: Readonly<Record<string, Ladder>> = {
  nvidia: NVIDIA,
  // 64 to 300 compute units, whose multiply-adds may take turns with loads from workgroup memory of 128 bytes: 8 x 8 outputs need one
  // vec4 for 16 of them, 8 x 4 one for 11, 4 x 4 one for 8.
  amd: { rungs: rungs("128x128, 8x8", "128x64, 8x8", "64x64, 8x4", "32x32, 4x4"), slices: 0, fill: 256 },
  // Subgroups of 16 with 128 registers of 32 bytes, 64 numbers an invocation: 8 x 4 outputs do not fit, 4 x 4 next to. 8 to 32 cores.
  intel: { rungs: rungs("64x64, 4x4", "32x32, 2x4", "32x32, 4x4"), slices: 0, fill: 64 },
  // 8 to 80 cores whose registers are shared by all resident invocations, and a large cache behind 32 KiB of workgroup memory:
  // middling tiles, many workgroups.
  apple: { rungs: rungs("64x64, 8x4", "32x32, 4x4"), slices: 0, fill: 128 },
};

/** Adreno, Mali, adapters that do not say what they are: little workgroup memory and few registers are assumed. */
const UNKNOWN: Ladder = { rungs: rungs("64x64, 4x4", "32x32, 4x4"), slices: 0, fill: 64 };

/** On software adapters there is none: a barrier costs more there than what it saves (bench/REJECTED.md). */
const NO_LADDER: Ladder = { rungs: [], slices: 0, fill: 16 };

export function ladderOf({ software, vendor }: DeviceProfile): Ladder {
  return software ? NO_LADDER : (LADDERS[vendor.toLowerCase()] ?? UNKNOWN);
}

/** Rungs that a problem may take on an adapter, largest first. */
function rungsFor(profile: DeviceProfile, problem: ConvProblem): readonly WorkgroupTile[] {
  const { rungs, weightGrad, slices } = ladderOf(profile);
  const own = problem.gather === "weightGrad" ? weightGrad?.[problem.pointwise ? "pointwise" : "gathered"] : rungs;
  return (own ?? rungs).filter(
    (t) => tileFits(profile, problem, t) && (t.tm * t.tv < 16 || slicesOf(problem, 16) >= slices),
  );
}

/** Shares of a tile's outputs that have to be wanted: below, a smaller rung wastes less. */
const USEFUL = 0.7;
/** Slices of a sum that a workgroup should have before the sum is split further. */
const SLICES_PER_SPLIT = 16;

/**
 * The largest rung that is mostly used and still makes enough workgroups; where none makes enough, the one that makes most, or one
 * whose sums several workgroups share (`splitTile`).
 * Null for products too small for any (a row of features, a handful of filters), and on software adapters.
 */
export function chooseRung(profile: DeviceProfile, problem: ConvProblem): WorkgroupTile | null {
  if (productOf(problem).some((n) => n < 8)) return null;
  const fitting = rungsFor(profile, problem);
  const whole = largestTile(problem, fitting, tileSize, ladderOf(profile).fill);
  return whole && splitTile(profile, problem, whole, fitting, tileSize);
}

/**
 * Of tiles that fit, largest first, the first that is mostly used and makes `fill` workgroups, else the one that makes most. Null where
 * there is none.
 */
export function largestTile<T>(
  problem: ConvProblem,
  fitting: readonly T[],
  sizeOf: (tile: T) => TileSize,
  fill: number,
): T | null {
  const [rows, cols] = productOf(problem);
  const made = (t: T) => workgroupsOf(problem, sizeOf(t));
  const useful = (t: T) => (rows * cols) / (made(t) * sizeOf(t).rows * sizeOf(t).cols) >= USEFUL;
  const busy = (t: T) => made(t) * problem.groups * mostSplits(problem, sizeOf(t)) >= fill;
  const most = Math.max(...fitting.map(made));
  return fitting.find((t) => useful(t) && busy(t)) ?? fitting.find((t) => made(t) === most) ?? null;
}

/** Into how many parts the sums of a product forward may be split, apart from not at all. */
const SPLITS: readonly number[] = [2, 4, 8, 16];
/**
 * What `splitTile` goes by, in the time of a multiply-add of one unit: a float on its way between the unit and the memory of all, and a pass of
 * its own. Measured on an H200 alone (26 November 2026), whose units make 144 thousand multiply-adds in a microsecond in these kernels:
 * - by `MOVED` tiles of 64 x 128, 64 x 64, 32 x 64 and 32 x 32 that fill the machine should take 100, 109, 127 and 145 for the same work, and
 *   took 100, 110, 114 and 147;
 * - 0.15 million sums in two and in four parts took 13 us more than a half and a quarter of the whole, 1.6 million in two parts 20 us more:
 *   by these numbers 15 and 20. (A pass was taken for 4 us before that was known.)
 */
const MOVED = 16;
const PASS = 2 ** 21;
/** Sums are split where that takes less than this share of the time, by that estimate. */
const WORTHWHILE = 0.9;

/**
 * A tile whose sums several workgroups share, in place of `whole`, where that leaves units without work: 192 rows of 512 columns, as an
 * inference of one image has them, are 96 tiles of 32 x 32 or 24 of 64 x 64, for 60 to 300 units. `whole` stays where its workgroups
 * fill the machine; twice over if it is the smallest tile, which loads most for each product. Parts take memory, a pass over them, and
 * its start. What takes the least time is chosen, as the sum of:
 * - rounds of workgroups, each by the terms of a part and what a tile does with a term: a product for each output, a load for each of
 *   its rows and columns. With x = workgroups / units that is x + 1/2 on average: nobody knows how many units there are, and the last
 *   round is as long as any. It is as many as `PER_UNIT` at least, as a workgroup that is alone on a unit waits for its loads: for
 *   one on an H200 the estimate without that was right for 64 x 128 and 128 x 64 (1 to 1.3 times as long), and not for 64 x 64 and 32 x 64
 *   (1.5 to 2.2) and 32 x 32 (some 3);
 * - for more than one part, the pass, and for each of them that all sums are written and read once.
 * Of the rule nothing is measured, of its constants what they say. Software adapters, whose few threads have enough to do, split none.
 * @param speed multiply-adds in the time of one: more than 1 on matrix units
 */
export function splitTile<T extends { readonly splits: number }>(
  profile: DeviceProfile,
  problem: ConvProblem,
  whole: T,
  fitting: readonly T[],
  sizeOf: (tile: T) => TileSize,
  speed = 1,
): T {
  const [rows, cols] = productOf(problem);
  const { fill } = ladderOf(profile);
  const units = fill / PER_UNIT;
  const terms = problem.taps * problem.inner;
  const time = (t: T) => {
    const size = sizeOf(t);
    const rounds = Math.max(PER_UNIT, (workgroupsOf(problem, size) * problem.groups * size.splits) / units + 0.5);
    const product =
      (rounds * terms * ((size.rows * size.cols) / speed + MOVED * (size.rows + size.cols))) / size.splits;
    return size.splits === 1
      ? product
      : product + PASS + (2 * MOVED * size.splits * rows * cols * problem.groups) / units;
  };
  const outputs = (t: T) => sizeOf(t).rows * sizeOf(t).cols;
  const smallest = fitting.every((t) => outputs(t) >= outputs(whole));
  const made = workgroupsOf(problem, sizeOf(whole)) * problem.groups;
  if (profile.software || made >= (smallest ? 2 : 1) * fill) return whole;
  // Parts that are more numbers than the product reads would not stay in caches.
  const most = ((rows + problem.taps * cols) * problem.inner) / (rows * cols);
  const split = fitting
    .flatMap((t) => SPLITS.filter((n) => n <= most).map((splits) => ({ ...t, splits })))
    .filter((t) => {
      const size = sizeOf(t);
      return t.splits * SLICES_PER_SPLIT <= slicesOf(problem, size.depth) && partsFit(profile, problem, size);
    });
  const best = split.reduce((a, b) => (time(b) < time(a) ? b : a), whole);
  return time(best) < WORTHWHILE * time(whole) ? best : whole;
}

/** Slices of a sum: a weight gradient's is over pixels, its taps are rows. */
const slicesOf = ({ gather, taps, inner }: ConvProblem, depth: number) =>
  (gather === "weightGrad" ? 1 : taps) * Math.ceil(inner / depth);

/**
 * Whether the sums of such a tile may be split so: at least a slice each, no further than where workgroups are few (which bounds the
 * memory that parts take by that of twice as many tiles as fill the machine), and parts that can be bound.
 */
export function partsFit(profile: DeviceProfile, problem: ConvProblem, size: TileSize): boolean {
  const { gather, rows, cols, groups } = problem;
  const { splits, depth } = size;
  if (splits === 1) return true;
  return (
    gather !== "weightGrad" &&
    SPLITS.includes(splits) &&
    slicesOf(problem, depth) >= splits &&
    (workgroupsOf(problem, size) * groups * splits) / 2 < ladderOf(profile).fill &&
    4 * splits * groups * rows * cols <= profile.maxBindingBytes
  );
}

/** The parts into which sums are split, and slices of each, the last one's perhaps fewer. */
export function partsOf(problem: ConvProblem, { splits, depth }: TileSize): { parts: number; slices: number } {
  const all = slicesOf(problem, depth);
  const slices = Math.ceil(all / splits);
  return { parts: splits === 1 ? 1 : Math.ceil(all / slices), slices };
}

/** Whether a tile is one that the kernels can be made with, on this adapter and for this problem. */
export function tileFits(profile: DeviceProfile, problem: ConvProblem, t: WorkgroupTile): boolean {
  const { gather } = problem;
  const { tm, tv, lanesX, lanesY, depth, buffers, prefetch } = t;
  const [a, b] = staged(t);
  return (
    splitFits(gather, t.perUnit) &&
    partsFit(profile, problem, tileSize(t)) &&
    [8, 16, 32].includes(depth) &&
    [1, 2].includes(buffers) &&
    [0, 1].includes(prefetch) &&
    [2, 4, 8].includes(tm) &&
    [1, 2].includes(tv) &&
    [a, b, lanesX, lanesY, lanesY / tv, (lanesX * lanesY * 4) / depth, (lanesX * 4) / tm].every(
      (n) => n >= 1 && n % 1 === 0,
    ) &&
    (gather !== "weightGrad" || tm % 4 === 0) &&
    lanesX * lanesY <= profile.workgroupInvocations &&
    16 * buffers * (lanesY * tm * (depth / 4 + 1) + depth * lanesX * tv) <= profile.workgroupBytes
  );
}

/** `vec4` of a, and of b, that an invocation stages of a slice. */
const staged = ({ tm, tv, lanesX, lanesY, depth }: WorkgroupTile) => [
  (tm * depth) / (4 * lanesX),
  (depth * tv) / lanesY,
];

/** Rows and columns of the product; those of a weight gradient are all its taps' channels. */
export const productOf = ({ gather, rows, cols, taps }: ConvProblem): readonly [number, number] => [
  gather === "weightGrad" ? rows * taps : rows,
  cols,
];

/** Tiles that cover one group. */
export function workgroupsOf(problem: ConvProblem, t: TileSize): number {
  const [rows, cols] = productOf(problem);
  return Math.ceil(rows / t.rows) * Math.ceil(cols / t.cols);
}

const mostSplits = ({ gather, inner }: ConvProblem, { depth }: TileSize) =>
  gather === "weightGrad" ? Math.max(1, Math.floor(inner / (depth * SLICES_PER_SPLIT))) : 1;

/** Pixels of one part of a weight gradient's sum: whole slices, in as many parts as the machine needs. */
export function pixelsPerSplit(profile: DeviceProfile, problem: ConvProblem, t: TileSize): number {
  const workgroups = (ladderOf(profile).fill / PER_UNIT) * t.perUnit;
  const wanted = Math.ceil(workgroups / (workgroupsOf(problem, t) * problem.groups));
  const splits = Math.min(wanted, mostSplits(problem, t));
  return Math.ceil(problem.inner / splits / t.depth) * t.depth;
}

/** Outputs of a workgroup up to which the products of a slice are summed by themselves: small problems, whose time is not spent there. */
const SUMMED_BY_SLICES = 2048;

/** The kernel that a tile is made with. `defines`: types in memory, and the flags of conv_epilogue.wgsl. */
export function tiledKernel(problem: ConvProblem, t: WorkgroupTile, defines: Defines): KernelSpec {
  const weightGrad = problem.gather === "weightGrad";
  const [AL, BL] = staged(t);
  const size = tileSize(t);
  return {
    shader: weightGrad ? "conv_weight_grad_tiled" : "conv_tiled",
    defines: {
      ...tiledElements(problem),
      ...(weightGrad ? { TQ: t.tm / 4 } : { TM: t.tm, MOMENTS: false }),
      TV: t.tv,
      AL,
      BL,
      POINTWISE: problem.pointwise,
      WHOLE: problem.inner % t.depth === 0,
      PREFETCH: t.prefetch,
      // Sums of their own for a slice take as many registers again, which 8 x 8 outputs do not leave; with 8 x 4 they cost a tenth of
      // the loop (bench/RESULTS.md), and only small tiles have them.
      SUM: t.tm * t.tv <= 4 || size.rows * size.cols <= SUMMED_BY_SLICES ? "s" : "c",
      ...defines,
    },
    overrides: { LX: t.lanesX, LY: t.lanesY, KT: t.depth, BUFFERS: t.buffers },
  };
}

/** Floats in the types by which both operands are loaded: b (and c) along columns, a along its contiguous side. */
export function tiledElements({ gather, rows, cols, inner, multiple, aMultiple }: ConvProblem): {
  ELEM: 1 | 4;
  AELEM: 1 | 4;
} {
  const alongA = gather === "weightGrad" ? rows : inner;
  return {
    ELEM: cols % 4 === 0 && multiple % 4 === 0 ? 4 : 1,
    AELEM: alongA % 4 === 0 && aMultiple % 4 === 0 ? 4 : 1,
  };
}
