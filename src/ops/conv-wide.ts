/** Convolutions on matrix units that turn what they load (shaders/conv_wide.wgsl, conv_weight_grad_wide.wgsl): channels in eights. */
import type { DeviceProfile, MatrixUnits } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { Defines } from "../gpu/shader.js";
import type { ConvProblem } from "./conv-choice.js";
import { LEAST, SPEED, type SubgroupTile, unitSize } from "./conv-matrix.js";
import { ladderOf, largestTile, PER_UNIT, productOf, splitFits, splitTile, workgroupsOf } from "./conv-tiles.js";

const tile = (
  [subgroupsY, subgroupsX]: readonly [number, number],
  [rows, cols]: readonly [number, number],
  depth: number,
): SubgroupTile => ({ subgroupsY, subgroupsX, rows, cols, depth, perUnit: PER_UNIT, splits: 1 });

/** Rungs by rows x columns of the tile, and the subgroups that share it; largest first. */
export const WIDE_RUNGS = {
  "256x128 by 8": tile([4, 2], [64, 64], 32),
  "128x128 by 8": tile([2, 4], [64, 32], 32),
  "128x128 by 4": tile([2, 2], [64, 64], 32),
  "128x64 by 4": tile([2, 2], [64, 32], 32),
  "64x64 by 4": tile([2, 2], [32, 32], 64),
  "32x64 by 2": tile([1, 2], [32, 32], 32),
} as const satisfies Record<string, SubgroupTile>;

/** Whose units turn what they load, so that operands are staged as they lie in memory. */
const TURNING = ["nvidia"];
const PRODUCTS = ["128x128 by 8", "128x64 by 4", "64x64 by 4", "32x64 by 2"] as const;
/** More outputs for each number that is loaded: what sums over pixels want, whose operands are as large as their products are small. */
const WEIGHT_GRADS = ["128x128 by 4", "128x64 by 4", "64x64 by 4", "32x64 by 2"] as const;
/** Sums of as many terms, and of tiles that leave no unit waiting for long, are worth the largest. */
const LONG = { rung: "256x128 by 8", terms: 1024 } as const;

/** The tile where such units pay. Null where the device has none, or the problem's channels are no eights. */
export function wideTile(profile: DeviceProfile, problem: ConvProblem): SubgroupTile | null {
  if (!TURNING.includes(profile.vendor.toLowerCase()) || productOf(problem).some((n) => n < LEAST)) return null;
  const { gather, inner, taps } = problem;
  const { fill } = ladderOf(profile);
  const fits = (t: SubgroupTile) => wideFits(profile, problem, t);
  const largest = WIDE_RUNGS[LONG.rung];
  if (gather !== "weightGrad" && inner * taps >= LONG.terms && fits(largest)) {
    if (workgroupsOf(problem, unitSize(largest)) >= 2 * fill) return largest;
  }
  const fitting = (gather === "weightGrad" ? WEIGHT_GRADS : PRODUCTS).map((rung) => WIDE_RUNGS[rung]).filter(fits);
  // Two thirds of the units with large tiles are faster than all of them with small ones, or with parts of sums.
  const enough = fill / 3;
  const whole = largestTile(problem, fitting, unitSize, enough);
  if (!whole || workgroupsOf(problem, unitSize(whole)) * problem.groups >= enough) return whole;
  return splitTile(profile, problem, whole, fitting, unitSize, SPEED);
}

/** Whether a tile is one that the kernels can be made with, on this adapter and for such a problem; `partsFit` says how its sums may be split. */
export function wideFits(
  profile: DeviceProfile,
  problem: Pick<ConvProblem, "gather" | "eights">,
  t: SubgroupTile,
): boolean {
  const { matrixUnits: units } = profile;
  if (units?.components !== "f16" || !problem.eights) return false;
  const { m, n, k, lanes } = units;
  const { subgroupsY, subgroupsX, depth } = t;
  const { rows, cols } = unitSize(t);
  const { threads, a, b } = staged(units, t);
  const [down, across] = [t.rows / m, t.cols / n];
  const rowLanes = t.cols / 8;
  return (
    splitFits(problem.gather, t.perUnit) &&
    [m, n, k].every((side) => side % 8 === 0) &&
    [8, 16, 32].includes(lanes) &&
    [subgroupsY, subgroupsX, down, across].every((count) => [1, 2, 4, 8].includes(count)) &&
    // Each is a variable of the kernel's text.
    down * across <= 32 &&
    [16, 32, 64].includes(depth) &&
    depth % k === 0 &&
    [a, b, threads / (rows / 8), threads / (cols / 8), lanes / rowLanes, (m * rowLanes) / lanes].every(
      (count) => count >= 1 && count % 1 === 0,
    ) &&
    threads <= profile.workgroupInvocations &&
    16 * slots(problem.gather, units, t) <= profile.workgroupBytes
  );
}

/** Invocations, and eights of a and of b that each stages of a slice. */
function staged({ lanes }: MatrixUnits, t: SubgroupTile): { threads: number; a: number; b: number } {
  const { rows, cols, depth } = unitSize(t);
  const threads = lanes * t.subgroupsY * t.subgroupsX;
  return { threads, a: (rows * depth) / (8 * threads), b: (cols * depth) / (8 * threads) };
}

/** Elements of 16 bytes in workgroup memory: of slices, each row one longer than its terms or columns, later of sums or their moments. */
function slots(gather: ConvProblem["gather"], units: MatrixUnits, t: SubgroupTile): number {
  const { rows, cols, depth } = unitSize(t);
  const lines = (count: number, length: number) => count * (length / 8 + 1);
  const a = gather === "weightGrad" ? lines(depth, rows) : lines(rows, depth);
  // Of either order of b the larger one.
  const b = Math.max(lines(depth, cols), lines(cols, depth));
  const subgroups = t.subgroupsY * t.subgroupsX;
  return Math.max(a + b, subgroups * units.m * (t.cols / 4 + 1), subgroups * units.lanes * 4);
}

/**
 * The kernel that a tile is made with. `defines`: types in memory, and the flags of conv_epilogue.wgsl.
 * @param turned whether b lies as [tap, column, term]
 */
export function wideKernel(
  profile: DeviceProfile,
  problem: ConvProblem,
  t: SubgroupTile,
  defines: Defines,
  turned = false,
): KernelSpec {
  const units = profile.matrixUnits!;
  const { m, n, k, lanes } = units;
  const weightGrad = problem.gather === "weightGrad";
  const { threads, a, b } = staged(units, t);
  return {
    shader: weightGrad ? "conv_weight_grad_wide" : "conv_wide",
    defines: {
      // Of float32; the name of the components tells that halves are used.
      ELEM: 4,
      E: units.components,
      AELEM: 8,
      LEFT: weightGrad ? "x" : "a",
      MM: m,
      MN: n,
      MK: k,
      SY: t.subgroupsY,
      SX: t.subgroupsX,
      RM: t.rows / m,
      CN: t.cols / n,
      RG: 1,
      AL: a,
      BL: b,
      ROUNDS: (m * t.cols) / 8 / lanes,
      LANES: lanes,
      WEIGHT_GRAD: weightGrad,
      UNITS: "wide",
      LOADS: weightGrad ? "wide_weight_grad" : "wide",
      PREFETCH: 1,
      TURNED: turned,
      MOMENTS: false,
      POINTWISE: problem.pointwise,
      // Subgroups of the one size there is need not be asked for.
      ASKED: profile.subgroupSize === 0,
      ...defines,
    },
    overrides: { KT: t.depth, THREADS: threads, SLOTS: slots(problem.gather, units, t) },
  };
}
