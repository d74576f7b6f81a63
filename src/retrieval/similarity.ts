/** Similarity of query and gallery features, tile by tile, so that a large gallery never needs the whole matrix. */
import { NotFiniteError, UserError } from "../errors.js";
import { pause } from "./pause.js";

/**
 * Gives rows `queryStart` (inclusive) to `queryEnd` (exclusive) of the similarity matrix, [queryEnd - queryStart, gallery]
 * row by row; larger means more alike. A distance serves when it is negated.
 */
export type SimilarityTiles = (queryStart: number, queryEnd: number) => Promise<Float32Array | Float64Array>;

/**
 * Representations of two sets of images, row-major: query [Q, dim], gallery [G, dim]; they need not be normalised. One
 * array as both is one set, in which each image is compared with all.
 */
export interface Features {
  query: Float32Array;
  gallery: Float32Array;
  dim: number;
}

/** Similarities of a block: 128 MiB in float32. */
const BLOCK_SIMILARITIES = 2 ** 25;

/** Products between pauses: some tenths of a second. */
const PRODUCTS_UNPAUSED = 2 ** 27;

/** Queries that are compared with a gallery of this size at a time. */
export function rankingBlock(gallery: number): number {
  return Math.min(1024, Math.max(64, 64 * Math.floor(BLOCK_SIMILARITIES / (64 * gallery))));
}

/** Remembers the latest rows, for rankings that are made side by side from the same ones, which they must not change. */
export function remembered(similarity: SimilarityTiles): SimilarityTiles {
  let latest: { start: number; end: number; rows: ReturnType<SimilarityTiles> } | null = null;
  return (start, end) => {
    if (latest?.start !== start || latest.end !== end) latest = { start, end, rows: similarity(start, end) };
    return latest.rows;
  };
}

/**
 * Cosine similarity (eq. 11) on the CPU in float64. Memory of a call: (rows x (gallery + dim)) float64.
 *
 * @param signal what is being made when it is aborted rejects with its reason
 * @throws UserError when the lengths are no multiple of `dim`, or a feature is not finite
 */
export function cosineSimilarity({ query, gallery, dim }: Features, signal?: AbortSignal): SimilarityTiles {
  const queryNorms = rowLengths(query, dim, "query");
  const galleryNorms = rowLengths(gallery, dim, "gallery");
  return async (queryStart, queryEnd) => {
    const rows = queryEnd - queryStart;
    const block = new Float64Array(rows * dim);
    for (let i = 0; i < rows; i++) normalise(query, queryStart + i, queryNorms, block.subarray(i * dim, (i + 1) * dim));
    const tile = new Float64Array(rows * galleryNorms.length);
    const other = new Float64Array(dim);
    const unpaused = Math.max(1, Math.floor(PRODUCTS_UNPAUSED / Math.max(1, rows * dim)));
    for (let j = 0; j < galleryNorms.length; j++) {
      if ((j + 1) % unpaused === 0) await pause(signal);
      normalise(gallery, j, galleryNorms, other);
      for (let i = 0; i < rows; i++) tile[i * galleryNorms.length + j] = dot(block, i * dim, other);
    }
    return tile;
  };
}

/**
 * Length of each row, at least 1e-12 so that a row of zeros can be divided by it.
 *
 * @throws UserError when a feature is not finite, or the rows are not whole
 */
export function rowLengths(features: Float32Array, dim: number, name: string): Float64Array {
  const count = features.length / dim;
  if (!Number.isInteger(count))
    throw new UserError(`The ${name} features hold ${features.length} values, no multiple of their length ${dim}.`);
  return Float64Array.from({ length: count }, (_, row) => {
    let sum = 0;
    for (let d = row * dim; d < (row + 1) * dim; d++) sum += features[d] * features[d];
    if (!Number.isFinite(sum))
      throw new NotFiniteError(
        `The features of ${name} image ${row} are not finite. Were the weights saved after a diverged step?`,
      );
    return Math.max(Math.sqrt(sum), 1e-12);
  });
}

function normalise(features: Float32Array, row: number, lengths: Float64Array, target: Float64Array): void {
  for (let d = 0; d < target.length; d++) target[d] = features[row * target.length + d] / lengths[row];
}

/** Four partial sums let the processor overlap the additions; their order is fixed, so equal rows give equal sums. */
function dot(rows: Float64Array, offset: number, other: Float64Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = other.length - (other.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += rows[offset + i] * other[i];
    b += rows[offset + i + 1] * other[i + 1];
    c += rows[offset + i + 2] * other[i + 2];
    d += rows[offset + i + 3] * other[i + 3];
  }
  for (let i = whole; i < other.length; i++) a += rows[offset + i] * other[i];
  return a + b + (c + d);
}
