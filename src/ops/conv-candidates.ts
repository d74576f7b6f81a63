/** What a tuner may try for a problem: one choice of each kind, then the relatives of what was best. */
import type { DeviceProfile } from "../gpu/device.js";
import { type ConvChoice, type ConvProblem, type ConvWay, choiceFits, chooseConv, plainChoice } from "./conv-choice.js";
import { MATRIX_RUNGS } from "./conv-matrix.js";
import { PER_UNIT, RUNGS } from "./conv-tiles.js";
import { WIDE_RUNGS } from "./conv-wide.js";

/** Choices that are the same run the same kernel. */
export const sameChoice = (a: ConvWay, b: ConvWay): boolean =>
  a.kernel === b.kernel &&
  Object.entries(a.tile).every(([key, n]) => (b.tile as unknown as Record<string, number>)[key] === n);

/**
 * One of each kind: what is chosen untuned, the register tile, and on GPUs every rung of both ladders. On software adapters a barrier
 * costs more than any tile gains, and each tile takes seconds to compile.
 */
export function firstCandidates(profile: DeviceProfile, problem: ConvProblem): ConvChoice[] {
  const untuned = { ...profile, tuned: undefined };
  const rungs: ConvChoice[] = profile.software
    ? []
    : [
        ...Object.values(WIDE_RUNGS).map((tile): ConvChoice => ({ kernel: "wide", tile })),
        ...Object.values(MATRIX_RUNGS).map((tile): ConvChoice => ({ kernel: "matrix", tile })),
        ...Object.values(RUNGS).map((tile): ConvChoice => ({ kernel: "tiled", tile })),
      ];
  return distinct(profile, problem, [
    chooseConv(untuned, problem),
    chooseConv({ ...untuned, matrixUnits: undefined }, problem),
    plainChoice(profile, problem),
    ...rungs,
  ]);
}

/** Those that differ from a choice in one number of its tile. */
export function neighbours(profile: DeviceProfile, problem: ConvProblem, choice: ConvChoice): ConvChoice[] {
  const found: ConvChoice[] = [];
  const { kernel, tile } = choice;
  for (const [key, n] of Object.entries(tile)) {
    // The size of a subgroup is the adapter's.
    if (kernel === "stationary" && key === "lanes") continue;
    const values = key === "prefetch" || key === "unrolled" ? [1 - n] : [n / 2, n * 2];
    for (const value of values) found.push({ kernel, tile: { ...tile, [key]: value } } as ConvChoice);
  }
  return distinct(profile, problem, found);
}

function distinct(profile: DeviceProfile, problem: ConvProblem, choices: readonly ConvChoice[]): ConvChoice[] {
  const fitting = choices.filter((c) => choiceFits(profile, problem, c));
  return fitting.filter((c, i) => fitting.findIndex((other) => sameChoice(c, other)) === i);
}

/** A choice in a few words. */
export function describeChoice({ kernel, tile }: ConvWay): string {
  if (kernel === "winograd") return "Winograd F(2x2, 3x3)";
  const shared = "splits" in tile && tile.splits > 1 ? `, sums in ${tile.splits} parts` : "";
  const split = "perUnit" in tile && tile.perUnit !== PER_UNIT ? `, split for ${tile.perUnit} a unit` : shared;
  if (kernel === "matrix") {
    const { subgroupsY, subgroupsX, rows, cols, depth, prefetch } = tile;
    const how = `${rows}x${cols} each, depth ${depth}${prefetch ? "" : ", no prefetch"}${split}`;
    return `matrix units ${subgroupsY * rows}x${subgroupsX * cols}, ${how}`;
  }
  if (kernel === "wide") {
    const { subgroupsY, subgroupsX, rows, cols, depth } = tile;
    const how = `${rows}x${cols} each, depth ${depth}${split}`;
    return `wide matrix units ${subgroupsY * rows}x${subgroupsX * cols}, ${how}`;
  }
  const parts = tile as unknown as Record<string, number>;
  if (kernel === "tiled") {
    const { tm, tv, lanesX, lanesY, depth, buffers, prefetch } = tile;
    const how = `${buffers > 1 ? ", two buffers" : ""}${prefetch ? "" : ", no prefetch"}${split}`;
    return `tiled ${lanesY * tm}x${lanesX * tv * 4}, ${tm}x${4 * tv} each, depth ${depth}${how}`;
  }
  const rest =
    kernel === "registers"
      ? `${parts.tm} rows, ${parts.lanesX}x${parts.lanesY} lanes`
      : `${parts.chunk} terms held${parts.unrolled ? ", unrolled" : ""}`;
  return `${kernel} ${parts.tv} vec${parts.elem} by ${rest}${parts.aElem === 1 ? ", scalars" : ""}`.replace(
    "vec1",
    "f32",
  );
}
