/** Single-query evaluation of a network on a dataset (Sec. 5): features, cosine similarities, CMC and mAP. */
import type { Dataset, Sample } from "../data/dataset.js";
import type { DecodePool } from "../data/decode-pool.js";
import type { OnUnreadable } from "../data/loader.js";
import type { Device } from "../gpu/device.js";
import type { Extraction, Extractor } from "./extractor.js";
import { gpuSimilarity } from "./gpu-similarity.js";
import { evaluateRankings, type Labels, type RankingInput, type RankingResult } from "./metrics.js";
import { type RerankOptions, rerankedSimilarity } from "./rerank.js";
import { cosineSimilarity, remembered } from "./similarity.js";

export interface DatasetEvaluation {
  readonly result: RankingResult;
  /** Of the k-reciprocal re-ranking, where one was asked for. */
  readonly reranked: RankingResult | null;
  readonly query: Extraction;
  readonly gallery: Extraction;
  /** For ranked lists of the same features. */
  readonly ranking: RankingInput;
  readonly extractSeconds: number;
  readonly rankSeconds: number;
  /** Frees what `ranking` holds on the GPU. */
  readonly release: () => void;
}

/** Products above which the GPU computes the similarities: a float64 loop on the CPU does some 4e8 a second. */
const GPU_FROM = 4e9;

export async function evaluateDataset(
  device: Device,
  extractor: Extractor,
  dataset: Dataset,
  pool: DecodePool,
  options: {
    onProgress?: (done: number, total: number) => void;
    onUnreadable?: OnUnreadable;
    /** Queries ranked. */
    onRanked?: (done: number, total: number) => void;
    rerank?: RerankOptions;
  } = {},
): Promise<DatasetEvaluation> {
  const { onProgress, onUnreadable } = options;
  const total = dataset.query.length + dataset.gallery.length;
  const started = performance.now();
  const query = await extractor.ofSamples(dataset.query, pool, (done) => onProgress?.(done, total), onUnreadable);
  const offset = dataset.query.length;
  const gallery = await extractor.ofSamples(
    dataset.gallery,
    pool,
    (done) => onProgress?.(offset + done, total),
    onUnreadable,
  );
  const extracted = performance.now();
  const labels = labelsOf(dataset, query, gallery);
  const features = { query: query.features, gallery: gallery.features, dim: extractor.dim };
  const products = query.indices.length * gallery.indices.length * extractor.dim;
  const tiles = products > GPU_FROM ? await gpuSimilarity(device, features) : null;
  const similarity = remembered(tiles?.similarity ?? cosineSimilarity(features));
  const rankings = [similarity];
  if (options.rerank) rankings.push(await rerankedSimilarity(device, features, similarity, options.rerank));
  const [result, reranked = null] = await evaluateRankings(labels, rankings, { onProgress: options.onRanked });
  const seconds = (from: number, to: number) => (to - from) / 1000;
  return {
    result,
    reranked,
    query,
    gallery,
    ranking: { ...labels, similarity },
    extractSeconds: seconds(started, extracted),
    rankSeconds: seconds(extracted, performance.now()),
    release: () => tiles?.destroy(),
  };
}

function labelsOf(dataset: Dataset, query: Extraction, gallery: Extraction): Labels {
  const of = (samples: readonly Sample[], { indices }: Extraction, key: "pid" | "camid") =>
    Int32Array.from(indices, (i) => samples[i][key]);
  return {
    queryIds: of(dataset.query, query, "pid"),
    queryCams: of(dataset.query, query, "camid"),
    galleryIds: of(dataset.gallery, gallery, "pid"),
    galleryCams: of(dataset.gallery, gallery, "camid"),
  };
}
