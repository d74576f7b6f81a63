/** Evaluates a network on a dataset by single queries and, where asked for, by multi-queries and by re-ranking too. */
import type { Dataset } from "../data/dataset.js";
import type { DecodePool } from "../data/decode-pool.js";
import type { OnUnreadable } from "../data/loader.js";
import type { Device } from "../gpu/device.js";
import { type DatasetEvaluation, evaluateDataset, type RankOptions } from "../retrieval/evaluate.js";
import type { Extractor } from "../retrieval/extractor.js";
import type { RankingResult } from "../retrieval/metrics.js";
import { evaluateMultiQuery, type Pooling } from "../retrieval/multi-query.js";
import { DEFAULT_RERANK, type RerankParameters } from "../retrieval/rerank.js";
import { evaluationFields } from "./common.js";
import { asksToRerank, type EvaluationOptions, POOLINGS_OF } from "./evaluation-options.js";
import type { Shell } from "./shell.js";

export interface EvaluatedNetwork {
  readonly extractor: Extractor;
  readonly pool: DecodePool;
}

/** A row of the table. */
export interface Row {
  label: string;
  result: RankingResult;
}

/** Another ranking by the same network, marked so that a report does not take it for the next stage of a training. */
export interface OtherRow extends Row {
  aside: true;
}

export interface FullEvaluation {
  /** By single queries; its `release` is the caller's to call. */
  readonly single: DatasetEvaluation;
  /** What was asked for besides. */
  readonly others: readonly OtherRow[];
  /** All of it as scripts get it. */
  readonly fields: ReturnType<typeof evaluationFields> & { rerank?: object; multiQuery?: object };
}

export type OnProgress = (done: number, total: number) => void;

/**
 * @param display title of the progress displays, or what shows the images represented instead
 * @param signal ends it with the signal's reason
 */
export async function evaluateFully(
  shell: Shell,
  device: Device,
  network: EvaluatedNetwork,
  dataset: Dataset,
  options: EvaluationOptions,
  {
    display,
    onUnreadable,
    signal,
  }: { display: string | OnProgress; onUnreadable?: OnUnreadable; signal?: AbortSignal },
): Promise<FullEvaluation> {
  const parameters = rerankParameters(options);
  const single = await evaluateDataset(device, network.extractor, dataset, network.pool, {
    onProgress: typeof display === "string" ? shell.onProgress(display) : display,
    onUnreadable,
    signal,
    ...(typeof display === "string" ? rankOptions(shell, parameters) : { rerank: parameters }),
  });
  try {
    const { result, reranked } = single;
    const poolings = options.multiQuery && POOLINGS_OF[options.multiQuery];
    const multi =
      poolings &&
      (await evaluateMulti(shell, device, network, dataset, single, poolings, { onUnreadable, signal }, parameters));
    return {
      single,
      others: [
        ...(reranked ? [{ label: "re-ranked", result: reranked, aside: true as const }] : []),
        ...(multi?.rows ?? []),
      ],
      fields: {
        ...evaluationFields(result),
        ...(reranked && { rerank: { ...parameters, ...evaluationFields(reranked) } }),
        ...(multi && { multiQuery: multi.fields }),
      },
    };
  } catch (error) {
    single.release();
    throw error;
  }
}

/** By multi-queries: rows of the table, and fields by pooling. */
async function evaluateMulti(
  shell: Shell,
  device: Device,
  { extractor, pool }: EvaluatedNetwork,
  dataset: Dataset,
  single: DatasetEvaluation,
  poolings: readonly Pooling[],
  watched: { onUnreadable?: OnUnreadable; signal?: AbortSignal },
  rerank: RerankParameters | undefined,
) {
  const options = { onProgress: shell.onProgress("multi-queries"), ...watched, ...rankOptions(shell, rerank) };
  const { results, reranked, images, alone } = await evaluateMultiQuery(
    device,
    extractor,
    dataset,
    pool,
    single,
    poolings,
    options,
  );
  if (alone > 0) shell.warn(`${alone} queries have no multi-query image; they are searched with their own image.`);
  const rows = poolings.flatMap((pooling): OtherRow[] => {
    const better = reranked[pooling];
    return [
      { label: `multi-query (${pooling})`, result: results[pooling]!, aside: true },
      ...(better ? [{ label: `re-ranked (${pooling})`, result: better, aside: true as const }] : []),
    ];
  });
  const fields = poolings.map((pooling) => {
    const better = reranked[pooling];
    return [
      pooling,
      { ...evaluationFields(results[pooling]!), ...(better && { rerank: { ...rerank, ...evaluationFields(better) } }) },
    ];
  });
  return { rows, fields: { ...Object.fromEntries(fields), images, alone } };
}

/** Undefined where no re-ranking is asked for. */
function rerankParameters(options: EvaluationOptions): RerankParameters | undefined {
  if (!asksToRerank(options)) return undefined;
  const { rerankK1 = DEFAULT_RERANK.k1, rerankK2 = DEFAULT_RERANK.k2, rerankLambda = DEFAULT_RERANK.lambda } = options;
  return { k1: rerankK1, k2: rerankK2, lambda: rerankLambda };
}

/** Parameters, and progress on stderr, as often as they are used. */
function rankOptions(shell: Shell, parameters: RerankParameters | undefined): RankOptions {
  const progress = (title: string) => {
    let report = shell.onProgress(title);
    return (done: number, total: number) => {
      report(done, total);
      if (done >= total) report = shell.onProgress(title);
    };
  };
  const phases = {
    neighbours: progress("nearest neighbours"),
    vectors: progress("reciprocal vectors"),
    index: progress("who holds which"),
  };
  return {
    onRanked: progress("ranking"),
    rerank: parameters && { ...parameters, onProgress: (phase, done, total) => phases[phase](done, total) },
  };
}
