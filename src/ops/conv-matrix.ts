/** Convolutions on matrix units (shaders/conv_matrix.wgsl, conv_weight_grad_matrix.wgsl), for devices that were opened for them. */
import type { DeviceProfile, MatrixUnits } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { Defines } from "../gpu/shader.js";
import type { ConvProblem } from "./conv-choice.js";
import {
  ladderOf,
  largestTile,
  PER_UNIT,
  productOf,
  splitFits,
  splitTile,
  type TileSize,
  tiledElements,
} from "./conv-tiles.js";

/** What the subgroups of a workgroup make and how they go about it; numbers alone, as it is kept in a file of tuned choices. */
export interface SubgroupTile {
  /** Subgroups of the workgroup: below each other, and side by side. */
  readonly subgroupsY: number;
  readonly subgroupsX: number;
  /** Outputs of one of them. */
  readonly rows: number;
  readonly cols: number;
  /** Terms of the sum that are staged at a time: 16, 32 or 64. */
  readonly depth: number;
  /** As of `TileSize`. */
  readonly perUnit: number;
  readonly splits: number;
}

export interface MatrixTile extends SubgroupTile {
  /** 1: the next slice is loaded into registers while this one is multiplied. */
  readonly prefetch: number;
}

const tile = (
  [subgroupsY, subgroupsX]: readonly [number, number],
  [rows, cols]: readonly [number, number],
): MatrixTile => ({ subgroupsY, subgroupsX, rows, cols, depth: 32, prefetch: 1, perUnit: PER_UNIT, splits: 1 });

/** Rungs by rows x columns of the tile, and the subgroups that share it. */
export const MATRIX_RUNGS = {
  "128x128 by 4": tile([2, 2], [64, 64]),
  "128x128 by 8": tile([2, 4], [64, 32]),
  "128x64 by 4": tile([2, 2], [64, 32]),
  "64x64 by 4": tile([2, 2], [32, 32]),
  "32x32 by 2": tile([2, 1], [16, 32]),
} as const satisfies Record<string, MatrixTile>;

export type MatrixRung = keyof typeof MATRIX_RUNGS;

/**
 * Shipped defaults by `GPUAdapterInfo.vendor`, largest first. NVIDIA'S ALONE ARE MEASURED, and are left with what is no eights
 * (conv-wide.ts makes the rest two to three times as fast). A subgroup of 32 keeps the sums of 64 x 32
 * outputs in 64 registers an invocation; with twice as many, as llama.cpp has it on NVIDIA, only the tuner can tell whether a driver spills.
 */
const LADDERS: Readonly<Record<string, readonly MatrixRung[]>> = {
  nvidia: ["128x128 by 8", "128x64 by 4", "64x64 by 4", "32x32 by 2"],
  amd: ["128x128 by 8", "128x64 by 4", "64x64 by 4", "32x32 by 2"],
};

/** Intel's 128 registers of 32 or 64 bytes hold the sums of 32 x 32 outputs in half of them; Apple's workgroups share 32 KiB. */
const OTHERS: readonly MatrixRung[] = ["64x64 by 4", "32x32 by 2"];

/** Elements of a row in workgroup memory beyond those that are wanted (shaders/matrix_tiles.wgsl). */
const PADDING = 8;
/** Products of fewer rows or columns waste too much of every rung. */
export const LEAST = 32;
/** Multiply-adds of matrix units in the time of one without, from what vendors say of their cards: 4 to 16. */
export const SPEED = 8;

/** The tile where matrix units pay. Null where the device has no use for its units. */
export function matrixTile(profile: DeviceProfile, problem: ConvProblem): MatrixTile | null {
  if (productOf(problem).some((n) => n < LEAST)) return null;
  // The sum of a weight gradient is split as wanted, so that large tiles may be few.
  const fill = ladderOf(profile).fill / (problem.gather === "weightGrad" ? 2 : 1);
  const fitting = fittingRungs(profile, problem);
  const whole = largestTile(problem, fitting, unitSize, fill);
  return whole && splitTile(profile, problem, whole, fitting, unitSize, SPEED);
}

/** The units that a device was opened for, where a tile fits it: too little memory leaves them idle. */
export function usableUnits(profile: DeviceProfile): MatrixUnits | undefined {
  return fittingRungs(profile, { gather: "forward" }).length > 0 ? profile.matrixUnits : undefined;
}

/** Whether a tile is one that the kernels can be made with, on this adapter and for such a problem; `partsFit` says how its sums may be split. */
export function matrixFits(profile: DeviceProfile, { gather }: Pick<ConvProblem, "gather">, t: MatrixTile): boolean {
  const { matrixUnits: units } = profile;
  if (!units) return false;
  const { subgroupsY, subgroupsX, depth, prefetch } = t;
  const [down, across] = [t.rows / units.m, t.cols / units.n];
  const { threads, a, b } = staged(units, t);
  return (
    splitFits(gather, t.perUnit) &&
    [8, 16, 32].includes(units.lanes) &&
    [subgroupsY, subgroupsX, down, across].every((n) => [1, 2, 4, 8].includes(n)) &&
    // Each is a variable of the kernel's text.
    down * across <= 32 &&
    [16, 32, 64].includes(depth) &&
    depth % units.k === 0 &&
    [0, 1].includes(prefetch) &&
    [gather === "weightGrad" ? a / 4 : a, b].every((n) => n >= 1 && n % 1 === 0) &&
    threads <= profile.workgroupInvocations &&
    leaving(profile, units, t) !== undefined
  );
}

/** Invocations, and what each stages of a slice: `vec4` of the left operand, and blocks of four terms by four columns of the right one. */
function staged({ lanes }: MatrixUnits, t: MatrixTile): { threads: number; a: number; b: number } {
  const { rows, cols, depth } = unitSize(t);
  const threads = lanes * t.subgroupsY * t.subgroupsX;
  return { threads, a: (rows * depth) / (4 * threads), b: (cols * depth) / (16 * threads) };
}

/** Matrices side by side that leave a subgroup at a time: the most whose sums fit into workgroup memory beside the operands. */
function leaving({ workgroupBytes }: DeviceProfile, units: MatrixUnits, t: MatrixTile): number | undefined {
  const { rows, cols, depth } = unitSize(t);
  const operands = (units.components === "f16" ? 2 : 4) * (rows + cols) * (depth + PADDING);
  const sums = (n: number) => 4 * t.subgroupsY * t.subgroupsX * units.m * (n * units.n + PADDING);
  return [8, 4, 2, 1].find((n) => n * units.n <= t.cols && operands + sums(n) <= workgroupBytes);
}

/** Whether sums leave a subgroup so that a lane has one column of them throughout, as shaders/matrix_moments.wgsl wants it. */
export function leavesMoments(profile: DeviceProfile, t: MatrixTile): boolean {
  const { m, n, lanes } = profile.matrixUnits!;
  const vectors = (leaving(profile, profile.matrixUnits!, t)! * n) / 4;
  return lanes % vectors === 0 && m % (lanes / vectors) === 0 && 2 * lanes <= m * (vectors + PADDING / 4);
}

/** Rows, columns and depth of a workgroup's tile. */
export const unitSize = ({ subgroupsY, subgroupsX, rows, cols, ...t }: SubgroupTile): TileSize => ({
  rows: subgroupsY * rows,
  cols: subgroupsX * cols,
  depth: t.depth,
  perUnit: t.perUnit,
  splits: t.splits,
});

export function matrixKernel(
  profile: DeviceProfile,
  problem: ConvProblem,
  t: MatrixTile,
  defines: Defines,
): KernelSpec {
  const units = profile.matrixUnits!;
  const { components, m, n, k, lanes } = units;
  const weightGrad = problem.gather === "weightGrad";
  const { threads, a, b } = staged(units, t);
  const out = leaving(profile, units, t)!;
  return {
    shader: weightGrad ? "conv_weight_grad_matrix" : "conv_matrix",
    defines: {
      ...tiledElements(problem),
      E: components,
      MM: m,
      MN: n,
      MK: k,
      SY: t.subgroupsY,
      SX: t.subgroupsX,
      RM: t.rows / m,
      RG: t.cols / n / out,
      CN: out,
      AL: weightGrad ? a / 4 : a,
      BL: b,
      UNITS: "matrix",
      LOADS: weightGrad ? "matrix_weight_grad" : "matrix",
      MOMENTS: false,
      POINTWISE: problem.pointwise,
      PREFETCH: t.prefetch,
      // Subgroups of the one size there is need not be asked for.
      ASKED: profile.subgroupSize === 0,
      ...(profile.subgroupSize === 0 && { LANES: lanes }),
      ...defines,
    },
    overrides: { KT: t.depth, THREADS: threads },
  };
}

function fittingRungs(profile: DeviceProfile, problem: Pick<ConvProblem, "gather">): MatrixTile[] {
  const rungs = LADDERS[profile.vendor.toLowerCase()] ?? OTHERS;
  return rungs.map((rung) => MATRIX_RUNGS[rung]).filter((t) => matrixFits(profile, problem, t));
}
