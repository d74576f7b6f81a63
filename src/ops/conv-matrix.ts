/** Convolutions on matrix units (shaders/conv_matrix.wgsl), for devices that were opened for them: pure functions of data. */
import type { DeviceProfile, MatrixUnits } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { Defines } from "../gpu/shader.js";
import type { ConvProblem } from "./conv-choice.js";
import { tiledElements } from "./conv-tiles.js";

/** A workgroup of four subgroups makes 64 x 64 outputs. */
export interface MatrixTile {
  readonly lanesX: number;
  readonly lanesY: number;
  /** Rows, and `vec4` of columns, for each of the lanes. */
  readonly tm: number;
  readonly tv: number;
  readonly depth: number;
}

const SIDE = 64;
const SUBGROUPS = 4;

/** The tile where matrix units pay: products that fill most of one. Null where the device has no use for its units. */
export function matrixTile(profile: DeviceProfile, { rows, cols, gather }: ConvProblem): MatrixTile | null {
  return gather === "weightGrad" || rows < SIDE / 2 || cols < SIDE / 2 ? null : deepest(profile);
}

/** The units that a device was opened for, where a tile fits it: subgroups of varying size, or little memory, leave them idle. */
export function usableUnits(profile: DeviceProfile): MatrixUnits | undefined {
  return deepest(profile) ? profile.matrixUnits : undefined;
}

export function matrixFits(profile: DeviceProfile, { gather }: ConvProblem, tile: MatrixTile): boolean {
  return gather !== "weightGrad" && deviceFits(profile, tile);
}

function deepest(profile: DeviceProfile): MatrixTile | null {
  const lanesY = (SUBGROUPS * profile.subgroupSize) / (SIDE / 4);
  const tiles = [32, 16].map((depth) => ({ lanesX: SIDE / 4, lanesY, tm: SIDE / lanesY, tv: 1, depth }));
  return tiles.find((tile) => deviceFits(profile, tile)) ?? null;
}

function deviceFits(profile: DeviceProfile, t: MatrixTile): boolean {
  const { matrixUnits: units, subgroupSize } = profile;
  if (!units) return false;
  const bytes = units.components === "f16" ? 2 : 4;
  return (
    t.lanesX === SIDE / 4 &&
    t.lanesX * t.lanesY === SUBGROUPS * subgroupSize &&
    [8, 16, 32].includes(subgroupSize) &&
    t.lanesY * t.tm === SIDE &&
    t.tv === 1 &&
    [16, 32].includes(t.depth) &&
    t.depth % t.lanesY === 0 &&
    t.lanesX * t.lanesY <= profile.workgroupInvocations &&
    bytes * (SIDE * (t.depth + 8) + t.depth * (SIDE + 8)) + 4 * SUBGROUPS * units.size ** 2 <= profile.workgroupBytes
  );
}

export function matrixKernel(
  profile: DeviceProfile,
  problem: ConvProblem,
  t: MatrixTile,
  defines: Defines,
): KernelSpec {
  const { components, size } = profile.matrixUnits!;
  return {
    shader: "conv_matrix",
    defines: {
      ...tiledElements(problem),
      E: components,
      MM: size,
      MN: size,
      MK: size,
      RM: SIDE / 2 / size,
      RN: SIDE / 2 / size,
      TM: t.tm,
      TV: t.tv,
      AL: (t.tm * t.depth) / (4 * t.lanesX),
      BL: t.depth / t.lanesY,
      POINTWISE: problem.pointwise,
      ...defines,
    },
    overrides: { LX: t.lanesX, LY: t.lanesY, KT: t.depth },
  };
}
