/**
 * The coarse prior of body part locations (Sec. 3.2, Fig. 5a): from a parsing and a segmentation map, a binary mask of
 * the person on the grid of the feature map and the rows between which the person stands.
 */
import type { Augmentation, Size } from "./augment.js";
import { type LabelMap, personMask, resizeLabels } from "./label-map.js";
import { LABEL_SETS, type LabelSet } from "./label-sets.js";

/** Size of the feature map; 24 x 8 for images of 384 x 128. */
export interface Grid {
  rows: number;
  cols: number;
}

export interface Prior extends Grid {
  /** [rows, cols] of 0 and 1. */
  mask: Uint8Array;
  /** First row of the region of interest. */
  top: number;
  /** Row below its last one. */
  bottom: number;
  /** False: the whole image stands in, so that its uniform division follows. */
  reliable: boolean;
}

/** A prior that can follow its image: the mask alone says too little, as shifts are mostly smaller than a cell. */
export interface MovablePrior extends Prior {
  /**
   * [SUB_CELLS * rows, SUB_CELLS * cols] of 0 to FULL: how much of each sub-cell the person covers, in steps of 1 / FULL.
   * Null where the prior is not reliable.
   */
  coverage: Uint8Array | null;
}

/** Sub-cells of a cell along each axis: of 4 x 4 pixels of the network's input, as a cell has 16 x 16. */
export const SUB_CELLS = 4;
/**
 * Steps of a sub-cell's coverage: the most below 256 in which sixteenths are whole. So nothing is lost of a map at the
 * network's input size, nor of one of 128 x 64 (Market-1501) on 24 x 8 cells, whose sub-cells cut pixels into eighths.
 */
const FULL = 240;
/** A part is present where its pixels are at least this share of the map. */
const MIN_FRACTION = 1 / 512;
/** Of a whole cell's coverage. */
const CELL_STEPS = SUB_CELLS * SUB_CELLS * FULL;
/**
 * A cell belongs to the person where half of it is covered. The slack lets exact halves count in spite of float64's
 * rounding, and is for this alone: the rounding to steps, far coarser, moves no cell's total across one half
 * (see `inSteps`), while a slack as wide as a step would take in cells that are truly covered by less.
 */
const HALF = 0.5 * CELL_STEPS;
const SLACK = 1e-9 * CELL_STEPS;

/** The prior that knows nothing: all cells, all rows. */
export function wholePrior({ rows, cols }: Grid): MovablePrior {
  const mask = new Uint8Array(rows * cols).fill(1);
  return { rows, cols, mask, top: 0, bottom: rows, reliable: false, coverage: null };
}

/**
 * The prior of one image: union of both maps, binarised on the grid, dilated by 1 x 2 cells, and its extent in rows. Not
 * reliable, and whole, when the head or both legs are missing, or the person fills no cell.
 *
 * @param parsing labels of `labels`, 0 for background
 * @param segmentation the person (see `personMask`), of any size, or null for parsing alone
 */
export function coarsePrior(
  parsing: LabelMap,
  segmentation: LabelMap | null,
  { rows, cols, labels }: Grid & { labels: LabelSet },
): MovablePrior {
  const { width, height } = parsing;
  const { head, leg } = LABEL_SETS[labels];
  if (!isPresent(parsing, head) || !isPresent(parsing, leg)) return wholePrior({ rows, cols });

  const union = parsing.data.map((label) => (label > 0 ? 1 : 0));
  if (segmentation) {
    const person = personMask(resizeLabels(segmentation, width, height));
    for (let i = 0; i < union.length; i++) union[i] |= person[i];
  }
  return priorOfMask(union, { height, width }, { rows, cols });
}

/**
 * The prior of an image that has a segmentation map alone, which does not tell head and legs: its extent is taken for the
 * person's. Not reliable, and whole, when the person fills no cell.
 */
export function segmentationPrior(segmentation: LabelMap, grid: Grid): MovablePrior {
  return priorOfMask(personMask(segmentation), segmentation, grid);
}

function priorOfMask(person: Uint8Array, size: Size, { rows, cols }: Grid): MovablePrior {
  const cover = areaResize(person, size, { rows: SUB_CELLS * rows, cols: SUB_CELLS * cols });
  return priorOfCoverage(inSteps(cover, { rows, cols }), { rows, cols });
}

/** The prior of an image whose person covers the sub-cells of `coverage` (see `MovablePrior`). */
export function priorOfCoverage(coverage: Uint8Array, grid: Grid): MovablePrior {
  const prior = binarise(coverage, grid, { down: 0, right: 0, flip: false });
  return prior ? { ...prior, coverage } : wholePrior(grid);
}

/**
 * The prior of an augmented image: as its maps would give it, shifted by the same pixels, and then mirrored if the image
 * is. For the paper translates its images beforehand (Sec. 5.1), and their maps are seen on the grid (Sec. 3.2) only then.
 * What a shift vacates is not person. Erasing leaves the prior alone. One that is not reliable stays whole, and one of
 * which nothing is left inside the image becomes so.
 *
 * Shifts of whole cells are exact, and of a map at the input's size those of whole sub-cells. Otherwise the person counts as
 * spread evenly over each sub-cell, which may decide a cell that is nearly half covered the other way.
 *
 * @param size the network's input, in whose pixels the shift is
 */
export function movePrior(prior: MovablePrior, { flip, shiftX, shiftY }: Augmentation, size: Size): Prior {
  const { rows, cols, coverage } = prior;
  if (coverage === null || (!flip && shiftX === 0 && shiftY === 0)) return prior;
  const down = (shiftY * SUB_CELLS * rows) / size.height;
  const right = (shiftX * SUB_CELLS * cols) / size.width;
  return binarise(coverage, { rows, cols }, { down, right, flip }) ?? wholePrior(prior);
}

/** Where the content of an image goes: `down` and `right`, in sub-cells, then mirrored left to right if `flip`. */
interface Move {
  down: number;
  right: number;
  flip: boolean;
}

/** Binarises moved coverage on the grid, dilates by 1 x 2 cells and takes the extent; null where no cell is left. */
function binarise(coverage: Uint8Array, { rows, cols }: Grid, { down, right, flip }: Move): Prior | null {
  const mask = new Uint8Array(rows * cols);
  const line = new Float64Array(SUB_CELLS * cols);
  const [above, left] = [taps(down), taps(right)];
  let top = rows;
  let bottom = 0;
  for (let row = 0; row < rows; row++) {
    line.fill(0);
    for (let i = 0; i <= SUB_CELLS; i++) {
      const y = SUB_CELLS * row + above.first + i;
      const weight = above.weights[i];
      if (weight === 0 || y < 0 || y >= SUB_CELLS * rows) continue;
      for (let x = 0, at = y * line.length; x < line.length; x++) line[x] += weight * coverage[at + x];
    }
    let before = false;
    for (let col = 0; col < cols; col++) {
      let sum = 0;
      for (let i = 0, x = SUB_CELLS * col + left.first; i <= SUB_CELLS; i++, x++) {
        if (x >= 0 && x < line.length) sum += left.weights[i] * line[x];
      }
      const covered = sum >= HALF - SLACK;
      // The kernel of 1 x 2 cells is anchored at its right one: the mask grows by one cell to the right.
      if (covered || before) {
        mask[row * cols + (flip ? cols - 1 - col : col)] = 1;
        top = Math.min(top, row);
        bottom = row + 1;
      }
      before = covered;
    }
  }
  return bottom === 0 ? null : { rows, cols, mask, top, bottom, reliable: true };
}

/**
 * The sub-cells whose content a shift brings into the first cell of a row or column: SUB_CELLS + 1 from `first` on, and
 * what share of each. For every further cell they lie SUB_CELLS further on.
 */
function taps(shift: number): { first: number; weights: number[] } {
  const first = Math.floor(-shift);
  const cut = -shift - first;
  return { first, weights: [1 - cut, ...new Array(SUB_CELLS - 1).fill(1), cut] };
}

/**
 * Coverage [SUB_CELLS * rows, SUB_CELLS * cols] of 0 to 1 in whole steps. In each cell the running total is rounded down
 * instead of each sub-cell: so a cell has half of its steps exactly where half of it is covered, unmoved and after shifts of
 * whole cells, in maps of any size. Sub-cells rounded one by one could add up to the other side of one half.
 */
function inSteps(cover: Float64Array, { rows, cols }: Grid): Uint8Array {
  const steps = new Uint8Array(cover.length);
  for (let cell = 0; cell < rows * cols; cell++) {
    const first = SUB_CELLS * (Math.floor(cell / cols) * SUB_CELLS * cols + (cell % cols));
    let total = SLACK;
    let given = 0;
    for (let i = 0; i < SUB_CELLS * SUB_CELLS; i++) {
      const at = first + Math.floor(i / SUB_CELLS) * SUB_CELLS * cols + (i % SUB_CELLS);
      total += FULL * cover[at];
      steps[at] = Math.floor(total) - given;
      given += steps[at];
    }
  }
  return steps;
}

function isPresent({ data }: LabelMap, labels: readonly number[]): boolean {
  let count = 0;
  for (const label of data) if (labels.includes(label)) count++;
  return count >= MIN_FRACTION * data.length;
}

/** Which pixels, from `start` on, lie in a cell, and by what share of the cell each. */
interface Span {
  start: number;
  shares: number[];
}

/** Divides `pixels` evenly into `cells`; borders cut pixels. */
function spans(pixels: number, cells: number): Span[] {
  return Array.from({ length: cells }, (_, cell) => {
    const low = (cell * pixels) / cells;
    const high = ((cell + 1) * pixels) / cells;
    const start = Math.floor(low);
    const overlaps = Array.from(
      { length: Math.ceil(high) - start },
      (_, i) => Math.min(start + i + 1, high) - Math.max(start + i, low),
    );
    const total = overlaps.reduce((sum, overlap) => sum + overlap, 0);
    return { start, shares: overlaps.map((overlap) => overlap / total) };
  });
}

/** Mean over each cell of a grid laid over the picture. */
function areaResize(values: Uint8Array, { height, width }: Size, { rows, cols }: Grid): Float64Array {
  const across = spans(width, cols);
  const result = new Float64Array(rows * cols);
  for (const [row, { start, shares }] of spans(height, rows).entries()) {
    const line = new Float64Array(width);
    for (const [i, share] of shares.entries()) {
      for (let x = 0; x < width; x++) line[x] += share * values[(start + i) * width + x];
    }
    for (const [col, span] of across.entries()) {
      result[row * cols + col] = span.shares.reduce((sum, share, i) => sum + share * line[span.start + i], 0);
    }
  }
  return result;
}
