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

/** A part is present where its pixels are at least this share of the map. */
const MIN_FRACTION = 1 / 512;
/** A cell belongs to the person from this covered share on; the slack is for the rounding of exact halves. */
const MIN_COVER = 0.5 - 1e-9;

/** The prior that knows nothing: all cells, all rows. */
export function wholePrior({ rows, cols }: Grid): Prior {
  return { rows, cols, mask: new Uint8Array(rows * cols).fill(1), top: 0, bottom: rows, reliable: false };
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
): Prior {
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
export function segmentationPrior(segmentation: LabelMap, grid: Grid): Prior {
  return priorOfMask(personMask(segmentation), segmentation, grid);
}

function priorOfMask(person: Uint8Array, size: Size, { rows, cols }: Grid): Prior {
  const cover = areaResize(person, size, { rows, cols });
  const mask = new Uint8Array(rows * cols);
  let top = rows;
  let bottom = 0;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const cell = row * cols + col;
      // The kernel of 1 x 2 cells is anchored at its right one: the mask grows by one cell to the right.
      if (cover[cell] < MIN_COVER && !(col > 0 && cover[cell - 1] >= MIN_COVER)) continue;
      mask[cell] = 1;
      top = Math.min(top, row);
      bottom = row + 1;
    }
  }
  return bottom === 0 ? wholePrior({ rows, cols }) : { rows, cols, mask, top, bottom, reliable: true };
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

/** How an image was moved, in cells: shifted down and right, then mirrored left to right if `flip`. */
export interface PriorMove {
  flip: boolean;
  dRows: number;
  dCols: number;
}

/** The move of the prior that belongs to an image's augmentation, rounded to whole cells. */
export function priorMove({ flip, shiftX, shiftY }: Augmentation, size: Size, { rows, cols }: Grid): PriorMove {
  // Halves round away from zero, so that shifts to either side are treated alike.
  const toCells = (shift: number, cells: number, extent: number) =>
    Math.sign(shift) * Math.round((Math.abs(shift) * cells) / extent);
  return { flip, dRows: toCells(shiftY, rows, size.height), dCols: toCells(shiftX, cols, size.width) };
}

/**
 * The prior of a moved image. Vacated cells are 0, the region of interest is clamped to the grid. One that is not
 * reliable stays whole, and so becomes one of which nothing is left inside the grid.
 */
export function movePrior(prior: Prior, { flip, dRows, dCols }: PriorMove): Prior {
  if (!prior.reliable || (!flip && dRows === 0 && dCols === 0)) return prior;
  const { rows, cols } = prior;
  const mask = new Uint8Array(rows * cols);
  let filled = false;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const fromRow = row - dRows;
      const fromCol = (flip ? cols - 1 - col : col) - dCols;
      if (fromRow < 0 || fromRow >= rows || fromCol < 0 || fromCol >= cols) continue;
      const value = prior.mask[fromRow * cols + fromCol];
      mask[row * cols + col] = value;
      filled ||= value === 1;
    }
  }
  if (!filled) return wholePrior(prior);
  const clamp = (row: number) => Math.min(Math.max(row + dRows, 0), rows);
  return { rows, cols, mask, top: clamp(prior.top), bottom: clamp(prior.bottom), reliable: true };
}
