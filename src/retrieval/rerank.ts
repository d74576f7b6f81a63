/**
 * k-reciprocal re-ranking (Zhong et al., CVPR 2017) in bounded memory: what the published code does, without its N x N
 * matrices.
 *
 * Over the N images of query and gallery together (each once, where they are one set), d(i, j) = 2 - 2 cos(i, j), the
 * squared Euclidean distance of unit vectors, divided by the largest d of row i. Ranked lists are by falling cosine, ties
 * by number, queries before gallery.
 *   R(i, k)   the first k + 1 images of i's list that have i among the first k + 1 of theirs
 *   R*(i)     R(i, k1), and for each q of it R(q, k1 / 2) if more than two thirds of that lie in R(i, k1)
 *   V(i)      exp(-d(i, j)) for j of R*(i), divided by their sum; averaged over the first k2 of i's list
 *   Jaccard   1 - s / (2 - s) with s = sum over j of min(V(i, j), V(g, j))
 * Result: (1 - lambda) Jaccard + lambda d. Half of k1 is rounded to the even one, as numpy does.
 *
 * A row of V has (k1 + 1)(k1 / 2 + 2) entries at most, and an averaged one k2 times as many, whatever N is.
 */
import { UserError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import { type Neighbours, nearestNeighbours } from "./neighbours.js";
import { pause } from "./pause.js";
import { type Features, rowLengths, type SimilarityTiles } from "./similarity.js";
import { type SparseRow, SparseRows, transposed } from "./sparse-rows.js";

export interface RerankParameters {
  /** Length of the lists in which neighbours must be reciprocal. */
  k1: number;
  /** Neighbours whose vectors are averaged; 1 leaves them as they are. */
  k2: number;
  /** Weight of the original distance. */
  lambda: number;
}

/** Those of the paper, which all toolkits use. */
export const DEFAULT_RERANK: RerankParameters = { k1: 20, k2: 6, lambda: 0.3 };

export interface RerankOptions extends Partial<RerankParameters> {
  /** See `NeighbourOptions`. */
  block?: number;
  onProgress?: (phase: "neighbours" | "vectors" | "index", done: number, total: number) => void;
  /** Ends the work with its reason, that on rows which are asked for later too. */
  signal?: AbortSignal;
}

/** Distances below this are rounding: a row without a larger one is of images that are all the same. */
const LEAST_DISTANCE = 1e-6;
/** Images between calls of `onProgress`. */
const REPORT_EVERY = 4096;
/** Images between pauses: some tenths of a second, or of the gallery's rows for a query. */
const PAUSE_EVERY = 512;
const PAUSE_EVERY_QUERIES = 64;

/**
 * Prepares the re-ranking of a gallery for each query.
 *
 * @param cosine similarities of the same features
 * @returns negated distances, for `evaluateRanking` and ranked lists
 * @throws UserError when a parameter is out of range, or a feature is not finite
 */
export async function rerankedSimilarity(
  device: Device,
  features: Features,
  cosine: SimilarityTiles,
  options: RerankOptions = {},
): Promise<SimilarityTiles> {
  const { k1, k2, lambda, block, onProgress, signal } = { ...DEFAULT_RERANK, ...options };
  checkParameters({ k1, k2, lambda });
  // Lists twice as long as needed hold nearly all pairs of which V takes the distance.
  const near = await nearestNeighbours(device, features, Math.max(2 * (k1 + 1), k2), {
    block,
    signal,
    onProgress: (done, total) => onProgress?.("neighbours", done, total),
  });
  const images = near.least.length;
  /** After each image: tells how far the phase is. */
  const after = (phase: "vectors" | "index") => (done: number, total: number) => {
    if (done % REPORT_EVERY === 0 || done === total) onProgress?.(phase, done, total);
    return done % PAUSE_EVERY === 0 || done === total ? pause(signal) : undefined;
  };
  const vectors = await reciprocalVectors(features, near, k1, after("vectors"));
  const gallery = features.gallery.length / features.dim;
  const averaged = (image: number) => average(vectors, near, image, k2);
  const holders = await transposed(gallery, images, (g) => averaged(images - gallery + g), after("index"));
  const farthest = near.least.map((similarity) => 2 - 2 * similarity);

  return async (start, end) => {
    const tile = await cosine(start, end);
    const result = new Float32Array(tile.length);
    const shared = new Float64Array(gallery);
    for (let query = start; query < end; query++) {
      if ((query + 1 - start) % PAUSE_EVERY_QUERIES === 0) await pause(signal);
      shared.fill(0);
      const { columns, values } = averaged(query);
      for (const [i, column] of columns.entries()) {
        const last = holders.offsets[column + 1];
        for (let at = holders.offsets[column]; at < last; at++) {
          shared[holders.columns[at]] += Math.min(values[i], holders.values[at]);
        }
      }
      const perDistance = farthest[query] > LEAST_DISTANCE ? lambda / farthest[query] : 0;
      const from = (query - start) * gallery;
      for (let g = 0; g < gallery; g++) {
        const jaccard = 1 - shared[g] / (2 - shared[g]);
        result[from + g] = -((1 - lambda) * jaccard + perDistance * (2 - 2 * tile[from + g]));
      }
    }
    return result;
  };
}

function checkParameters({ k1, k2, lambda }: RerankParameters): void {
  const refuse = (what: string) => {
    throw new UserError(`Re-ranking: ${what}.`, { exitCode: 2 });
  };
  if (!Number.isInteger(k1) || k1 < 1) refuse(`k1 must be a whole number of at least 1, got ${k1}`);
  if (!Number.isInteger(k2) || k2 < 1) refuse(`k2 must be a whole number of at least 1, got ${k2}`);
  if (!(lambda >= 0 && lambda <= 1)) refuse(`lambda must lie between 0 and 1, got ${lambda}`);
}

/** V before it is averaged, a row for each image. */
async function reciprocalVectors(
  features: Features,
  near: Neighbours,
  k1: number,
  after: (done: number, total: number) => Promise<void> | void,
): Promise<SparseRows> {
  const images = near.least.length;
  const distance = distances(features, near);
  const half = roundHalfToEven(k1 / 2);
  const vectors = new SparseRows(images);
  // Marks of image i are written as i + 1, so that they need not be wiped.
  const reciprocal = new Int32Array(images);
  const expanded = new Int32Array(images);
  for (let image = 0; image < images; image++) {
    const first = reciprocalNeighbours(near, image, k1);
    const members = [...first];
    for (const member of first) reciprocal[member] = expanded[member] = image + 1;
    for (const member of first) {
      const others = reciprocalNeighbours(near, member, half);
      const common = others.filter((other) => reciprocal[other] === image + 1).length;
      if (3 * common <= 2 * others.length) continue;
      for (const other of others) {
        if (expanded[other] === image + 1) continue;
        expanded[other] = image + 1;
        members.push(other);
      }
    }
    const weights = members.map((member) => Math.exp(-distance(image, member)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const [i, member] of members.entries()) vectors.push(member, weights[i] / total);
    vectors.endRow();
    await after(image + 1, images);
  }
  return vectors;
}

/** R(image, k). */
function reciprocalNeighbours({ count, indices }: Neighbours, image: number, k: number): number[] {
  const length = Math.min(k + 1, count);
  const result: number[] = [];
  for (let at = image * count; at < image * count + length; at++) {
    const back = indices[at] * count;
    for (let i = back; i < back + length; i++) {
      if (indices[i] !== image) continue;
      result.push(indices[at]);
      break;
    }
  }
  return result;
}

/** d of any two images: looked up where one is in the other's list, else computed. */
function distances({ query, gallery, dim }: Features, { count, indices, similarities, least }: Neighbours) {
  const queries = query.length / dim;
  const lengths = { query: rowLengths(query, dim, "query"), gallery: rowLengths(gallery, dim, "gallery") };
  const place = (image: number) =>
    image < queries
      ? { set: query, at: image * dim, length: lengths.query[image] }
      : { set: gallery, at: (image - queries) * dim, length: lengths.gallery[image - queries] };
  const cosine = (image: number, other: number) => {
    for (let at = image * count; at < (image + 1) * count; at++) if (indices[at] === other) return similarities[at];
    const { set: a, at: from, length } = place(image);
    const { set: b, at: to, length: otherLength } = place(other);
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += a[from + d] * b[to + d];
    return sum / (length * otherLength);
  };
  return (image: number, other: number) => {
    const farthest = 2 - 2 * least[image];
    return farthest > LEAST_DISTANCE ? (2 - 2 * cosine(image, other)) / farthest : 0;
  };
}

/** Mean of the rows of V of an image's first k2 neighbours. */
function average(vectors: SparseRows, { count, indices }: Neighbours, image: number, k2: number): SparseRow {
  if (k2 === 1) return vectors.row(image);
  const length = Math.min(k2, count);
  const sums = new Map<number, number>();
  for (let at = image * count; at < image * count + length; at++) {
    const { columns, values } = vectors.row(indices[at]);
    for (let i = 0; i < columns.length; i++) sums.set(columns[i], (sums.get(columns[i]) ?? 0) + values[i] / length);
  }
  return { columns: Uint32Array.from(sums.keys()), values: Float32Array.from(sums.values()) };
}

/** As numpy's around. */
function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}
