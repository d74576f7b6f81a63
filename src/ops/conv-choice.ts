/** Which kernel makes a convolution's product: a pure function of shapes and device profile, or what was tuned. */
import type { DeviceProfile } from "../gpu/device.js";
import { CHUNKS, chooseStationary, chooseTile, type StationaryTile, type Tile } from "./conv-geometry.js";
import { type MatrixTile, matrixFits, matrixTile, type SubgroupTile, unitSize } from "./conv-matrix.js";
import { chooseRung, partsFit, type TileSize, tileFits, tileSize, type WorkgroupTile } from "./conv-tiles.js";
import { wideFits, wideTile } from "./conv-wide.js";

/** What a choice is made from. */
export interface ConvProblem {
  readonly gather: "forward" | "inputGrad" | "weightGrad";
  /** Of one group: rows are output pixels, for a weight gradient the contiguous channels under one tap. */
  readonly rows: number;
  /** Output channels of one group. */
  readonly cols: number;
  /** Terms: contiguous ones under one tap; for a weight gradient all output pixels. */
  readonly inner: number;
  readonly taps: number;
  readonly stride: readonly [number, number];
  readonly groups: number;
  /** What all strides and offsets along columns are multiples of, and those of the gathered operand. */
  readonly multiple: 1 | 2 | 4;
  readonly aMultiple: 1 | 2 | 4;
  /** Pixels follow each other in both maps, and no tap is to be found. */
  readonly pointwise: boolean;
  /** Channels of both sides, and all strides and offsets, are multiples of 8. */
  readonly eights?: boolean;
  /** What lies in memory as float16, all else as float32: the gathered map (a), dy of a weight gradient (b), the product (c). */
  readonly halves: readonly ("a" | "b" | "c")[];
}

export type ConvChoice =
  | { readonly kernel: "registers"; readonly tile: Tile }
  | { readonly kernel: "stationary"; readonly tile: StationaryTile }
  | { readonly kernel: "tiled"; readonly tile: WorkgroupTile }
  | { readonly kernel: "matrix"; readonly tile: MatrixTile }
  | { readonly kernel: "wide"; readonly tile: SubgroupTile };

/**
 * What may be chosen in place of a kernel for the product itself: Winograd's way round it (winograd.ts), which poses a product of its
 * own. It is no `ConvChoice`: whoever has come to choose a kernel has decided against it.
 */
export const WINOGRAD = { kernel: "winograd", tile: {} } as const;

/** How a convolution, or a gradient of one, is made: what a tuner finds. */
export type ConvWay = ConvChoice | typeof WINOGRAD;

/** The largest of 4, 2 and 1 that divides all. */
export function alignment(numbers: readonly number[]): 1 | 2 | 4 {
  const divides = (d: number) => numbers.every((n) => n % d === 0);
  return divides(4) ? 4 : divides(2) ? 2 : 1;
}

/** Whether all are multiples of 8. */
export const inEights = (numbers: readonly number[]): boolean => numbers.every((n) => n % 8 === 0);

/** Output pixels: what a problem's name rounds. */
export const pixelsOf = ({ gather, rows, inner }: ConvProblem): number => (gather === "weightGrad" ? inner : rows);

/**
 * The name of a problem. Numbers of pixels that share a power of two share a choice, so that what was tuned at one batch size serves
 * those near it. What is stored as float16 is part of it: such a kernel has another text, and moves half of the bytes.
 */
export function problemKey({ gather, rows, cols, inner, taps, stride, groups, halves, ...rest }: ConvProblem): string {
  const rounded = (n: number) => 2 ** Math.round(Math.log2(n));
  const [m, k] = gather === "weightGrad" ? [rows, rounded(inner)] : [rounded(rows), inner];
  const how = `${rest.pointwise ? "" : " gathered"}${groups > 1 ? ` groups ${groups}` : ""}`;
  const stored = halves.length > 0 ? ` f16 ${halves}` : "";
  return `${gather} ${m}x${cols} of ${taps}x${k} /${stride.join("x")}${how} aligned ${rest.aMultiple},${rest.multiple}${stored}`;
}

/**
 * The name under which a device keeps a tuned choice. Problems that its matrix units could make have others than without the units:
 * what was the fastest of all but them says nothing against them.
 */
export function tunedKey(profile: DeviceProfile, problem: ConvProblem): string {
  const units = matrixTile(profile, problem) && profile.matrixUnits;
  return `${problemKey(problem)}${units ? ` with units ${units.components} ${units.m}x${units.n}x${units.k}` : ""}`;
}

/** The tuned choice where there is one that can run here; else what is known to be good on such an adapter. */
export function chooseConv(profile: DeviceProfile, problem: ConvProblem): ConvChoice {
  const tuned = profile.tuned?.[tunedKey(profile, problem)] as ConvChoice | undefined;
  if (tuned && choiceFits(profile, problem, tuned)) return tuned;
  const wide = wideTile(profile, problem);
  if (wide) return { kernel: "wide", tile: wide };
  const matrix = matrixTile(profile, problem);
  if (matrix) return { kernel: "matrix", tile: matrix };
  const held = stationaryTile(profile, problem);
  if (held) return { kernel: "stationary", tile: held };
  const rung = chooseRung(profile, problem);
  return rung ? { kernel: "tiled", tile: rung } : plainChoice(profile, problem);
}

/** What a workgroup makes; null of kernels without workgroup memory. */
export function sizeOf({ kernel, tile }: ConvChoice): TileSize | null {
  if (kernel === "tiled") return tileSize(tile);
  return kernel === "matrix" || kernel === "wide" ? unitSize(tile) : null;
}

/** The register tile: any adapter, any shape; what others are verified against. */
export function plainChoice(
  profile: DeviceProfile,
  { rows, cols, multiple }: Pick<ConvProblem, "rows" | "cols" | "multiple">,
): ConvChoice {
  return { kernel: "registers", tile: chooseTile(profile, rows, cols, multiple) };
}

/** Whether kernels for software adapters transpose x and hold dy: where a pointwise weight gradient has less to transpose so. */
export function turnsWeightGrad({ gather, pointwise, groups, rows, cols, inner }: ConvProblem): boolean {
  return gather === "weightGrad" && pointwise && groups === 1 && rows * inner < cols * (inner + rows);
}

function stationaryTile(profile: DeviceProfile, problem: ConvProblem): StationaryTile | null {
  const { gather, rows, cols, inner, multiple, aMultiple } = problem;
  if (gather !== "weightGrad") return chooseStationary(profile, { rows, cols, multiple, inner, aMultiple });
  // It walks over one side and holds the other; what it walks over is transposed beforehand, to rows of whole pixels.
  return turnsWeightGrad(problem)
    ? chooseStationary(profile, { rows, cols, multiple, inner, aMultiple: 4 })
    : chooseStationary(profile, { rows: cols, cols: rows, multiple: aMultiple, inner, aMultiple: 4 });
}

/** Whether a choice, from wherever it came, is one that the kernels can be made with for this problem on this adapter. */
export function choiceFits(profile: DeviceProfile, problem: ConvProblem, { kernel, tile }: ConvChoice): boolean {
  if (kernel === "matrix") return matrixFits(profile, problem, tile) && partsFit(profile, problem, unitSize(tile));
  if (kernel === "wide") return wideFits(profile, problem, tile) && partsFit(profile, problem, unitSize(tile));
  if (kernel === "tiled") return tileFits(profile, problem, tile);
  if (kernel === "registers") return registersFit(profile, problem, tile);
  const known = stationaryTile(profile, problem);
  if (kernel !== "stationary" || !known) return false;
  const { elem, tv, aElem, chunk, lanes, unrolled } = tile;
  return (
    lanes === known.lanes &&
    [1, 2, 4].includes(elem) &&
    known.elem % elem === 0 &&
    [1, 2, 3, 4].includes(tv) &&
    [1, 4].includes(aElem) &&
    known.aElem % aElem === 0 &&
    CHUNKS.includes(chunk) &&
    chunk % (lanes * aElem) === 0 &&
    // Where loads are no gathers, LLVM takes minutes for code without a loop.
    [0, known.unrolled].includes(unrolled)
  );
}

function registersFit(profile: DeviceProfile, { gather, rows, cols, multiple }: ConvProblem, tile: Tile): boolean {
  const { elem, tv, tm, lanesX, lanesY } = tile;
  return (
    [1, 2, 4].includes(elem) &&
    cols % elem === 0 &&
    multiple % elem === 0 &&
    [1, 2, 4].includes(tv) &&
    [1, 2, 4, 8, 16].includes(tm) &&
    // A weight gradient moves its last tile back.
    (gather !== "weightGrad" || tm <= rows) &&
    [1, 2, 4, 8, 16, 32].includes(lanesX) &&
    [1, 2, 4, 8, 16].includes(lanesY) &&
    lanesX * lanesY <= profile.workgroupInvocations
  );
}
