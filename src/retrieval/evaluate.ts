/** Single-query evaluation of a network on a dataset (Sec. 5): features, cosine similarities, CMC and mAP. */
import { type Dataset, DISTRACTOR_PID, JUNK_PID, requireAnswers, type Sample } from "../data/dataset.js";
import type { DecodePool } from "../data/decode-pool.js";
import type { OnUnreadable } from "../data/loader.js";
import type { Device } from "../gpu/device.js";
import type { Extractor } from "./extractor.js";
import { similaritiesOf } from "./gpu-similarity.js";
import { evaluateRankings, type Labels, type RankingInput, type RankingResult } from "./metrics.js";
import { type Extraction, type Pace, paceOf } from "./pipeline.js";
import { type RerankOptions, rerankedSimilarity } from "./rerank.js";
import { type Features, remembered } from "./similarity.js";

export interface DatasetEvaluation {
  readonly result: RankingResult;
  /** Of the k-reciprocal re-ranking, where one was asked for. */
  readonly reranked: RankingResult | null;
  readonly query: Extraction;
  readonly gallery: Extraction;
  /** For ranked lists of the same features. */
  readonly ranking: RankingInput;
  readonly extractSeconds: number;
  /** Of query and gallery together. */
  readonly pace: Pace;
  readonly rankSeconds: number;
  /** Frees what `ranking` holds on the GPU. */
  readonly release: () => void;
}

export interface RankOptions {
  /** Also rank by k-reciprocal re-ranking. */
  rerank?: RerankOptions;
  /** Queries ranked. */
  onRanked?: (done: number, total: number) => void;
  /** Ends it within a second or so, with its reason: after the batch, the tile or some hundred rows that are being made. */
  signal?: AbortSignal;
}

/**
 * Where query and gallery are the same list (leave-one-out), each picture is represented once, and has its neighbours for
 * re-ranking among the others as they are: of two copies of everything, each would be the other's nearest.
 *
 * @throws UserError where no query has a right answer; the signal's reason, once it is aborted
 */
export async function evaluateDataset(
  device: Device,
  extractor: Extractor,
  dataset: Dataset,
  pool: DecodePool,
  options: {
    onProgress?: (done: number, total: number) => void;
    onUnreadable?: OnUnreadable;
  } & RankOptions = {},
): Promise<DatasetEvaluation> {
  const { onUnreadable } = options;
  const onProgress = untilAborted(options);
  requireAnswers(dataset);
  const once = dataset.query === dataset.gallery;
  const total = dataset.query.length + (once ? 0 : dataset.gallery.length);
  const started = performance.now();
  const query = await extractor.ofSamples(dataset.query, pool, (done) => onProgress(done, total), onUnreadable);
  const offset = dataset.query.length;
  const gallery = once
    ? query
    : await extractor.ofSamples(dataset.gallery, pool, (done) => onProgress(offset + done, total), onUnreadable);
  const extracted = performance.now();
  const labels = labelsOf(dataset, query, gallery);
  const features = { query: query.features, gallery: gallery.features, dim: extractor.dim };
  const { destroy, ...rankings } = await rankFeatures(device, labels, features, options);
  const seconds = (from: number, to: number) => (to - from) / 1000;
  return {
    ...rankings,
    query,
    gallery,
    extractSeconds: seconds(started, extracted),
    pace: once ? query.pace : paceOf([query.pace, gallery.pace]),
    rankSeconds: seconds(extracted, performance.now()),
    release: destroy,
  };
}

/** Ranks the gallery for each query by cosine similarity and, where asked for, by re-ranking too, in one pass. */
export async function rankFeatures(
  device: Device,
  labels: Labels,
  features: Features,
  { rerank, onRanked, signal }: RankOptions = {},
): Promise<Pick<DatasetEvaluation, "result" | "reranked" | "ranking"> & { destroy: () => void }> {
  const { similarity, destroy } = await similaritiesOf(device, features, signal);
  try {
    const cosine = remembered(similarity);
    const rankings = [cosine];
    if (rerank) rankings.push(await rerankedSimilarity(device, features, cosine, { ...rerank, signal }));
    const [result, reranked = null] = await evaluateRankings(labels, rankings, { onProgress: onRanked, signal });
    return { result, reranked, ranking: { ...labels, similarity }, destroy };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Progress of an extraction, which what it throws ends. */
export function untilAborted({
  onProgress,
  signal,
}: {
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}) {
  return (done: number, total: number) => {
    signal?.throwIfAborted();
    onProgress?.(done, total);
  };
}

function labelsOf(dataset: Dataset, query: Extraction, gallery: Extraction): Labels {
  const of = (samples: readonly Sample[], { indices }: Extraction, key: "pid" | "camid") =>
    Int32Array.from(indices, (i) => samples[i][key]);
  return {
    // A query that shows nobody has no right answer, whatever else shows nobody.
    queryIds: of(dataset.query, query, "pid").map((pid) => (pid === DISTRACTOR_PID ? JUNK_PID : pid)),
    queryCams: of(dataset.query, query, "camid"),
    galleryIds: of(dataset.gallery, gallery, "pid"),
    galleryCams: of(dataset.gallery, gallery, "camid"),
  };
}
