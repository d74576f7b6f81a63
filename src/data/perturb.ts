/**
 * Detector errors added to a dataset: each picture is seen through a box that was moved and scaled, as by a detector that
 * missed. They depend on a seed and the picture's place in its dataset alone, so that training, evaluation and the maps of
 * coarse priors agree on them whoever asks, wherever the dataset lies.
 */
import { basename } from "node:path";
import { nameKey, Stream, seededRng, uniform } from "../random.js";

export interface DetectorErrors {
  /** 1 is heavy: see `REACH`. Less is milder, 0 leaves every picture as it is. */
  amount: number;
  seed: number;
}

/**
 * How far a box is off at amount 1: centre by up to these shares of height and width, both sides by a factor of up to
 * `scale` and down to 1 / `scale`. A person of the usual margins then loses head or feet, stands beside the middle, or
 * shrinks by a quarter, as in Fig. 1 of the paper; most stripes of a uniform division show another part.
 */
const REACH = { rows: 0.2, columns: 0.15, scale: 1.3 } as const;

export interface Size {
  width: number;
  height: number;
}

/** A box in pixels; it may reach beyond the picture on any side. */
export interface Window extends Size {
  top: number;
  left: number;
}

/** What a picture's error is drawn by: its path within its dataset, or its file's name where it belongs to none. */
export const placeOf = ({ path, place }: { path: string; place?: string }) => place ?? basename(path);

/**
 * The box through which a picture or map of this size is seen, in whole pixels, at least one each way.
 * @param place that of the picture, for its maps too
 */
export function perturbedWindow(place: string, { amount, seed }: DetectorErrors, { width, height }: Size): Window {
  const rng = seededRng(seed, Stream.detector, nameKey(place));
  const draw = () => amount * uniform(rng, -1, 1);
  const centre = { row: 0.5 + REACH.rows * draw(), column: 0.5 + REACH.columns * draw() };
  const scale = REACH.scale ** draw();
  const span = (middle: number, pixels: number) => {
    const [start, end] = [middle - scale / 2, middle + scale / 2].map((share) => Math.round(share * pixels));
    return [start, Math.max(1, end - start)];
  };
  const [top, rows] = span(centre.row, height);
  const [left, columns] = span(centre.column, width);
  return { top, left, width: columns, height: rows };
}

/** What shows in a window: pixels (or labels) of `channels` bytes; outside the picture its nearest border is repeated. */
export function seenThrough(
  { width, height, data }: Size & { data: Uint8Array },
  window: Window,
  channels: number,
): Uint8Array<ArrayBuffer> {
  const seen = new Uint8Array(window.width * window.height * channels);
  const columns = Array.from({ length: window.width }, (_, x) => channels * inside(window.left + x, width));
  for (let y = 0, to = 0; y < window.height; y++) {
    const row = inside(window.top + y, height) * width * channels;
    for (const column of columns) {
      for (let c = 0; c < channels; c++) seen[to++] = data[row + column + c];
    }
  }
  return seen;
}

const inside = (place: number, extent: number) => Math.min(Math.max(place, 0), extent - 1);
