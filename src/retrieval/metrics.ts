/**
 * Re-ID evaluation by the rules of Market-1501, single query.
 *
 * For a query of identity q seen by camera c the gallery falls into
 *   junk    identity -1 (detector errors), and q seen by c itself: removed before anything is counted;
 *   right   q seen by another camera;
 *   wrong   everything else. Distractors carry identity 0, which no query has, and so are always wrong.
 * The rest is ranked by falling similarity; ties keep the gallery's order. A query without a right image is skipped.
 */
import { UserError } from "../errors.js";
import { pause } from "./pause.js";
import { cosineSimilarity, type Features, rankingBlock, type SimilarityTiles } from "./similarity.js";

/** Identities and cameras of two sets of images, by index. */
export interface Labels {
  queryIds: ArrayLike<number>;
  queryCams: ArrayLike<number>;
  galleryIds: ArrayLike<number>;
  galleryCams: ArrayLike<number>;
}

/** What to rank: labels, with either features (compared under the cosine similarity) or ready similarities. */
export type RankingInput = Labels & (Features | { similarity: SimilarityTiles });

export interface RankingOptions {
  /** Queries compared at a time; the memory is that of one block of similarities, [block, gallery]. Default: 32M of them. */
  block?: number;
  /** Length of the CMC curve, at least 20. Default 50. */
  ranks?: number;
  /** Called after each block. */
  onProgress?: (queriesDone: number, queries: number) => void;
  /** Ends the ranking after a block, with its reason. */
  signal?: AbortSignal;
}

/** All rates are fractions in 0..1, averaged over the queries that have a right gallery image. */
export interface RankingResult {
  /** `cmc[k - 1]`: share of queries with a right image among the first k. */
  cmc: Float64Array;
  rank1: number;
  rank5: number;
  rank10: number;
  rank20: number;
  /** Mean over queries of the mean precision at each right image (torchreid, fast-reid). */
  mAP: number;
  /** The trapezoid rule of the original Market-1501 code, which the paper's figures follow; never above `mAP`. */
  mAPTrapezoid: number;
  /** Of each query that counted, the mean precision at its right images; `mAP` is their mean. */
  averagePrecisions: ReadonlyMap<number, number>;
  /** Queries that counted. */
  queries: number;
  /** Queries without a right gallery image, left out of every average. */
  skipped: number;
}

const JUNK_ID = -1;

export const isRight = (labels: Labels, query: number, gallery: number) =>
  labels.galleryIds[gallery] === labels.queryIds[query];

export const isJunk = (labels: Labels, query: number, gallery: number) =>
  labels.galleryIds[gallery] === JUNK_ID ||
  (isRight(labels, query, gallery) && labels.galleryCams[gallery] === labels.queryCams[query]);

/** Orders gallery indices by falling similarity, ties by index. */
export const bySimilarity = (row: ArrayLike<number>) => (a: number, b: number) => row[b] - row[a] || a - b;

/** Chooses the similarities of an input and checks that its parts belong together. */
export function similarityOf(input: RankingInput): SimilarityTiles {
  const sides = [
    ["query", input.queryIds, input.queryCams],
    ["gallery", input.galleryIds, input.galleryCams],
  ] as const;
  for (const [side, ids, cams] of sides) {
    const images = "similarity" in input ? ids.length : input[side].length / input.dim;
    if (ids.length !== images || cams.length !== images)
      throw new UserError(
        `The ${side} set has ${images} feature rows, ${ids.length} identities and ${cams.length} cameras; ` +
          "they must be as many. Do features and image list come from the same folder?",
      );
  }
  return "similarity" in input ? input.similarity : cosineSimilarity(input);
}

/**
 * CMC and mAP of every query against the gallery, in memory of O(block x gallery).
 *
 * @throws UserError when numbers of features, identities and cameras differ, or a similarity is not finite
 */
export async function evaluateRanking(input: RankingInput, options: RankingOptions = {}): Promise<RankingResult> {
  return (await evaluateRankings(input, [similarityOf(input)], options))[0];
}

/** The same for several rankings of one gallery, block by block side by side: what they share is made once (`remembered`). */
export async function evaluateRankings(
  labels: Labels,
  similarities: readonly SimilarityTiles[],
  options: RankingOptions = {},
): Promise<RankingResult[]> {
  const [queryCount, galleryCount] = [labels.queryIds.length, labels.galleryIds.length];
  const { block = rankingBlock(galleryCount), onProgress, signal } = options;
  const tallies = similarities.map(() => new Tally(labels, Math.max(options.ranks ?? 50, 20)));
  for (let start = 0; start < queryCount; start += block) {
    const end = Math.min(start + block, queryCount);
    for (const [i, similarity] of similarities.entries()) tallies[i].add(start, end, await similarity(start, end));
    onProgress?.(end, queryCount);
    await pause(signal);
  }
  return tallies.map((tally) => tally.result());
}

/** The sums of one ranking. */
class Tally {
  private readonly cmc: Float64Array;
  private readonly galleryOf = new Map<number, number[]>();
  private queries = 0;
  private skipped = 0;
  private readonly averagePrecisions = new Map<number, number>();
  private mAP = 0;
  private mAPTrapezoid = 0;

  constructor(
    private readonly labels: Labels,
    ranks: number,
  ) {
    this.cmc = new Float64Array(ranks);
    for (let index = 0; index < labels.galleryIds.length; index++) {
      const id = labels.galleryIds[index];
      const list = this.galleryOf.get(id);
      if (list) list.push(index);
      else this.galleryOf.set(id, [index]);
    }
  }

  add(start: number, end: number, tile: Float32Array | Float64Array): void {
    const { cmc, labels } = this;
    const galleryCount = labels.galleryIds.length;
    for (let query = start; query < end; query++) {
      const row = tile.subarray((query - start) * galleryCount, (query - start + 1) * galleryCount);
      const hits = ranksOfRight(labels, query, row, this.galleryOf.get(labels.queryIds[query]) ?? []);
      if (hits.length === 0) {
        this.skipped++;
        continue;
      }
      this.queries++;
      for (let rank = hits[0]; rank < cmc.length; rank++) cmc[rank]++;
      const precision = averagePrecision(hits);
      this.averagePrecisions.set(query, precision);
      this.mAP += precision;
      this.mAPTrapezoid += averagePrecisionTrapezoid(hits);
    }
  }

  result(): RankingResult {
    const counted = Math.max(this.queries, 1);
    const cmc = this.cmc.map((count) => count / counted);
    return {
      cmc,
      rank1: cmc[0],
      rank5: cmc[4],
      rank10: cmc[9],
      rank20: cmc[19],
      mAP: this.mAP / counted,
      mAPTrapezoid: this.mAPTrapezoid / counted,
      averagePrecisions: this.averagePrecisions,
      queries: this.queries,
      skipped: this.skipped,
    };
  }
}

/**
 * Positions, from 0, of the right images in a query's cleaned list. The list itself is not sorted: it is enough to
 * sort the few right images and to count, for each wrong one, how many of them stand before it.
 *
 * @param sameId all gallery images of the query's identity
 */
function ranksOfRight(
  labels: Labels,
  query: number,
  row: Float32Array | Float64Array,
  sameId: readonly number[],
): number[] {
  for (let index = 0; index < row.length; index++) {
    if (!Number.isFinite(row[index]))
      throw new UserError(`The similarity of query ${query} and gallery image ${index} is ${row[index]}.`);
  }
  const order = bySimilarity(row);
  const right = sameId.filter((index) => !isJunk(labels, query, index)).sort(order);
  if (right.length === 0) return right;

  const wrongAfter = new Uint32Array(right.length + 1);
  // What is less alike than every right image stands before none of them.
  const lowest = row[right[right.length - 1]];
  for (let index = 0; index < row.length; index++) {
    if (row[index] < lowest || isJunk(labels, query, index) || isRight(labels, query, index)) continue;
    let [low, high] = [0, right.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(right[middle], index) < 0) low = middle + 1;
      else high = middle;
    }
    wrongAfter[low]++;
  }
  let wrongBefore = 0;
  return right.map((_, position) => position + (wrongBefore += wrongAfter[position]));
}

/** Mean of the precision at each hit; `hits` are positions from 0, rising. */
export function averagePrecision(hits: readonly number[]): number {
  return hits.reduce((sum, hit, i) => sum + (i + 1) / (hit + 1), 0) / hits.length;
}

/** The same with, at each hit, the mean of the precision there and just before it (1 before the first position). */
export function averagePrecisionTrapezoid(hits: readonly number[]): number {
  return hits.reduce((sum, hit, i) => sum + ((i + 1) / (hit + 1) + (hit > 0 ? i / hit : 1)) / 2, 0) / hits.length;
}
