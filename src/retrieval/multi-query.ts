/**
 * Multi-query evaluation (Table 4, Market-1501): a query is searched with all images of its person by its own camera.
 *
 * For each query, the multi-query images of the same identity and camera (on Market-1501 those of `gt_bbox`) are
 * represented and scaled to unit length, and the vectors are pooled by their average or by their maximum, element by
 * element. The pooled vector takes the query's place; which gallery images are right, wrong or junk stays as it is. A query
 * without such images is searched with its own vector. The paper does not say which pooling its figures have.
 */
import { type Dataset, requireQueryCameras, type Sample } from "../data/dataset.js";
import type { DecodePool } from "../data/decode-pool.js";
import type { OnUnreadable } from "../data/loader.js";
import type { Device } from "../gpu/device.js";
import { type DatasetEvaluation, type RankOptions, rankFeatures, untilAborted } from "./evaluate.js";
import type { Extractor } from "./extractor.js";
import type { RankingResult } from "./metrics.js";
import { rowLengths } from "./similarity.js";

export type Pooling = "average" | "max";

export interface MultiQueryEvaluation {
  /** One for each pooling asked for. */
  readonly results: Partial<Record<Pooling, RankingResult>>;
  /** The same by re-ranking, where that was asked for. */
  readonly reranked: Partial<Record<Pooling, RankingResult>>;
  /** Multi-query images that took part. */
  readonly images: number;
  /** Queries without any, searched with their own vector. */
  readonly alone: number;
}

/**
 * @param single the evaluation of the same dataset with single queries, whose gallery features serve again
 * @throws UserError where the queries' cameras are not known
 */
export async function evaluateMultiQuery(
  device: Device,
  extractor: Extractor,
  dataset: Dataset,
  pool: DecodePool,
  single: DatasetEvaluation,
  poolings: readonly Pooling[],
  options: { onProgress?: (done: number, total: number) => void; onUnreadable?: OnUnreadable } & RankOptions = {},
): Promise<MultiQueryEvaluation> {
  const queries = Array.from(single.query.indices, (i) => dataset.query[i]);
  requireQueryCameras(dataset.name, queries);
  const asked = new Set(queries.map(shotOf));
  const samples = dataset.multiQuery.filter((sample) => asked.has(shotOf(sample)));
  const { onUnreadable } = options;
  const { features, dim, indices } = await extractor.ofSamples(samples, pool, untilAborted(options), onUnreadable);
  const rows = new Map<string, number[]>();
  indices.forEach((index, row) => {
    const shot = shotOf(samples[index]);
    rows.set(shot, [...(rows.get(shot) ?? []), row]);
  });
  const members = queries.map((query) => rows.get(shotOf(query)) ?? []);
  const results: Partial<Record<Pooling, RankingResult>> = {};
  const reranked: Partial<Record<Pooling, RankingResult>> = {};
  for (const pooling of poolings) {
    const query = pooledFeatures(single.query.features, features, dim, members, pooling);
    const pooled = { query, gallery: single.gallery.features, dim };
    const ranked = await rankFeatures(device, single.ranking, pooled, options);
    ranked.destroy();
    results[pooling] = ranked.result;
    if (ranked.reranked) reranked[pooling] = ranked.reranked;
  }
  return { results, reranked, images: indices.length, alone: members.filter(({ length }) => length === 0).length };
}

const shotOf = ({ pid, camid }: Sample) => `${pid} ${camid}`;

/**
 * A vector for each query.
 *
 * @param own [queries, dim]: the queries' own vectors
 * @param features [images, dim]: those of the multi-query images
 * @param members rows of `features` that belong to each query; where there are none, the query keeps its own vector
 * @returns [queries, dim], not of unit length
 * @throws UserError when a feature is not finite
 */
export function pooledFeatures(
  own: Float32Array,
  features: Float32Array,
  dim: number,
  members: readonly (readonly number[])[],
  pooling: Pooling,
): Float32Array {
  const pooled = Float32Array.from(own);
  const lengths = rowLengths(features, dim, "multi-query");
  members.forEach((rows, query) => {
    if (rows.length === 0) return;
    const result = new Float64Array(dim).fill(pooling === "max" ? Number.NEGATIVE_INFINITY : 0);
    for (const row of rows) {
      for (let d = 0; d < dim; d++) {
        const value = features[row * dim + d] / lengths[row];
        result[d] = pooling === "max" ? Math.max(result[d], value) : result[d] + value / rows.length;
      }
    }
    pooled.set(result, query * dim);
  });
  return pooled;
}
