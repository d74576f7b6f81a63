/** Whether classifiers look at the parts of the person that they stand for: the attention maps of Sec. 5.2.5 as a number. */
import type { Prior } from "../data/prior.js";
import type { Attention } from "./gradcam.js";

export interface PartFocus {
  /** Pictures whose prior is reliable and of which a classifier's map lies on the person. */
  readonly pictures: number;
  /**
   * [classifier][part]: share of a map's sum on the person that lies in that part, the mean over pictures; null for a classifier
   * whose maps never lie on the person.
   */
  readonly shares: readonly (readonly number[] | null)[];
  /** The mean share in the classifier's own part; 1 / K where maps do not care for parts. */
  readonly own: number;
}

/** The classifiers of parts among all: "part 1" to "part K"; the others stand for no part. */
const PART = /^part \d+$/;

/**
 * @param pictures the maps of all classifiers and the prior of each picture, on the grid of the maps
 * @returns null where there are fewer than two classifiers of parts, or none of their maps lies on a person
 */
export function partFocus(
  pictures: Iterable<{ readonly maps: readonly Attention[]; readonly prior: Prior }>,
): PartFocus | null {
  const found: (number[] | null)[][] = [];
  for (const { maps, prior } of pictures) {
    const parts = maps.filter(({ name }) => PART.test(name));
    if (!prior.reliable || parts.length < 2) continue;
    const shares = parts.map((map) => sharesOf(map, prior, parts.length));
    if (shares.some((row) => row !== null)) found.push(shares);
  }
  if (found.length === 0) return null;
  const shares = found[0].map((_, k) => meanOf(found.flatMap((rows) => (rows[k] ? [rows[k]] : []))));
  const own = shares.flatMap((row, k) => row?.[k] ?? []);
  return { pictures: found.length, shares, own: own.reduce((a, b) => a + b, 0) / own.length };
}

/**
 * Shares of a map's sum on the person in `parts` equal slices of the person's height, as the auxiliary tasks divide it (Sec. 3.2);
 * null where nothing of the map lies there.
 */
function sharesOf({ rows, columns, values }: Attention, { mask, top, bottom }: Prior, parts: number): number[] | null {
  const shares = new Array<number>(parts).fill(0);
  for (let row = top; row < bottom && row < rows; row++) {
    let sum = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) sum += values[i] * mask[i];
    for (let part = 0; part < parts; part++) {
      const from = top + (part * (bottom - top)) / parts;
      const to = top + ((part + 1) * (bottom - top)) / parts;
      shares[part] += sum * Math.max(0, Math.min(row + 1, to) - Math.max(row, from));
    }
  }
  const total = shares.reduce((a, b) => a + b, 0);
  return total > 0 ? shares.map((share) => share / total) : null;
}

/** The mean of rows of equal length; null of none. */
function meanOf(rows: readonly (readonly number[])[]): number[] | null {
  if (rows.length === 0) return null;
  return rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
}
