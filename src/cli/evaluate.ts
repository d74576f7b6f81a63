import { type Command, Option } from "commander";
import type { OnUnreadable } from "../data/loader.js";
import { UserError } from "../errors.js";
import type { Precision } from "../graph/storage.js";
import type { DatasetEvaluation, RankOptions } from "../retrieval/evaluate.js";
import type { Pooling } from "../retrieval/multi-query.js";
import type { RerankParameters } from "../retrieval/rerank.js";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { PERTURB_OPTION, perturbAmount } from "./perturb-option.js";
import { precisionOption } from "./precision-option.js";
import { numberFrom, run, type Shell, wholeNumber } from "./shell.js";

interface EvaluateOptions extends DatasetOptions {
  multiQuery?: keyof typeof POOLINGS_OF;
  weights?: string;
  flip: boolean;
  perturb?: number | true;
  report?: string;
  strict?: boolean;
  rerank?: boolean;
  rerankK1?: number;
  rerankK2?: number;
  rerankLambda?: number;
  precision?: Precision;
}

const POOLINGS_OF = { avg: ["average"], max: ["max"], both: ["average", "max"] } as const;

/** `mpn evaluate`: CMC and mAP of a network on one dataset or several. */
export function register(program: Command): void {
  const command = program
    .command("evaluate")
    .description("Rank-1/5/10/20 and mAP (both definitions) of a network, by single queries and multi-queries")
    .argument("<datasets...>", `datasets with query and gallery: ${DATASET_HELP}`)
    .option("--weights <checkpoint>", "the network; by default the small one that ships")
    .option("--no-flip", "use the image alone, without averaging in its mirror image")
    .option(...PERTURB_OPTION)
    .addOption(precisionOption())
    .option("--report <file>", "also write a page with CMC curve and ranked lists (one dataset)")
    .addOption(
      new Option(
        "--multi-query <pooling>",
        "also search with all images of the query's person by its camera (Market-1501's gt_bbox), pooled",
      ).choices(Object.keys(POOLINGS_OF)),
    )
    .option("--strict", "fail on an image that cannot be read instead of leaving it out")
    .option("--rerank", "also re-rank by k-reciprocal neighbours; both results are printed")
    .option("--rerank-k1 <n>", "length of the lists in which neighbours must be reciprocal (20)", wholeNumber(1))
    .option("--rerank-k2 <n>", "neighbours whose vectors are averaged (6)", wholeNumber(1))
    .option("--rerank-lambda <share>", "weight of the original distance, 0 to 1 (0.3)", numberFrom(0, 1))
    .action(
      run(async (shell, folders: string[], options: EvaluateOptions) => {
        if (options.report !== undefined && folders.length > 1) {
          throw new UserError(
            `--report is a page of one dataset, and ${folders.length} are named; evaluate them in turn.`,
            {
              exitCode: 2,
            },
          );
        }
        const { layout, distractors } = options;
        const multiQuery = options.multiQuery !== undefined;
        const datasets: Dataset[] = [];
        for (const folder of folders) {
          datasets.push(await openDataset(shell, folder, ["query", "gallery"], { layout, distractors, multiQuery }));
        }
        const { loadNetwork, openDevice } = await import("./common.js");
        const device = await openDevice(shell);
        try {
          const perturb = perturbAmount(options.perturb) ?? 0;
          const network = await loadNetwork(device, options.weights, options.flip, perturb, options.precision);
          const trained = network.checkpoint.config.perturb;
          if (trained !== perturb) {
            shell.note(
              `The network was trained with detector errors of amount ${trained} added, and is evaluated with ${perturb} (--perturb).`,
            );
          }
          const results = [];
          for (const dataset of datasets) results.push(await evaluateOne(shell, device, network, dataset, options));
          await network.close();
          return results.length === 1 ? results[0] : { datasets: results };
        } finally {
          device.close();
        }
      }),
    );
  addDatasetOptions(command, ["gallery"]);
}

type Common = typeof import("./common.js");
type Network = Awaited<ReturnType<Common["loadNetwork"]>>;
type Device = Awaited<ReturnType<Common["openDevice"]>>;
type Dataset = Awaited<ReturnType<typeof openDataset>>;

async function evaluateOne(shell: Shell, device: Device, network: Network, dataset: Dataset, options: EvaluateOptions) {
  const { countUnreadable, evaluationFields, printEvaluations, printUnexcluded } = await import("./common.js");
  const { formatDatasetTable, datasetTable, remarks, unexcluded } = await import("../data/dataset.js");
  const { evaluateDataset } = await import("../retrieval/evaluate.js");
  const { DEFAULT_RERANK } = await import("../retrieval/rerank.js");
  shell.print(`${dataset.name}  (${dataset.root})`);
  shell.print(formatDatasetTable(dataset));
  const unreadable = countUnreadable(shell);
  const onUnreadable = options.strict ? undefined : unreadable.onUnreadable;
  const parameters = rerankParameters(options, DEFAULT_RERANK);
  const evaluation = await evaluateDataset(device, network.extractor, dataset, network.pool, {
    onProgress: shell.onProgress("evaluating"),
    onUnreadable,
    ...rankOptions(shell, parameters),
  });
  const poolings = options.multiQuery && POOLINGS_OF[options.multiQuery];
  const multi =
    poolings && (await evaluateMulti(shell, device, network, dataset, evaluation, poolings, onUnreadable, parameters));
  const { reranked } = evaluation;
  const rows = [
    { label: dataset.name, result: evaluation.result },
    ...(reranked ? [{ label: "re-ranked", result: reranked }] : []),
    ...(multi?.rows ?? []),
  ];
  printEvaluations(shell, rows);
  printUnexcluded(shell, dataset);
  shell.print(
    `features in ${evaluation.extractSeconds.toFixed(1)} s, ranking in ${evaluation.rankSeconds.toFixed(1)} s`,
  );
  if (options.report) {
    const { rankedLists } = await import("./run-report.js");
    const { writeReport } = await import("../report/report.js");
    await writeReport(options.report, {
      title: `Evaluation on ${dataset.name}`,
      adapter: { name: device.profile.name, software: device.profile.software },
      configuration: network.checkpoint.config,
      dataset: {
        name: dataset.name,
        subsets: datasetTable(dataset).map((r) => ({
          subset: r.subset,
          people: r.ids,
          images: r.images,
          cameras: r.cameras,
        })),
      },
      evaluations: rows.map(({ label, result }, i) => ({
        label: i === 0 ? network.checkpoint.path : label,
        ...result,
      })),
      notes: remarks(dataset),
      metrics: [],
      rankedLists: await rankedLists(dataset, evaluation, 8, network.perturb),
      timings: [
        { name: "Features", milliseconds: 1000 * evaluation.extractSeconds },
        { name: "Ranking", milliseconds: 1000 * evaluation.rankSeconds },
      ],
    });
    shell.print(`report: ${options.report}`);
  }
  evaluation.release();
  return {
    dataset: dataset.name,
    layout: dataset.layout,
    adapter: device.profile.name,
    weights: network.checkpoint.path,
    flip: options.flip,
    perturb: perturbAmount(options.perturb) ?? 0,
    ...evaluationFields(evaluation.result),
    ...(reranked && { rerank: { ...parameters, ...evaluationFields(reranked) } }),
    ...(multi && { multiQuery: multi.fields }),
    sameCameraExcluded: unexcluded(dataset) === null,
    unreadable: unreadable.count,
    extractSeconds: evaluation.extractSeconds,
    rankSeconds: evaluation.rankSeconds,
  };
}

/** By multi-queries: rows of the table, and fields by pooling. */
async function evaluateMulti(
  shell: Shell,
  device: Device,
  network: Network,
  dataset: Dataset,
  single: DatasetEvaluation,
  poolings: readonly Pooling[],
  onUnreadable: OnUnreadable | undefined,
  rerank: RerankParameters | undefined,
) {
  const { evaluationFields } = await import("./common.js");
  const { evaluateMultiQuery } = await import("../retrieval/multi-query.js");
  const { extractor, pool } = network;
  const options = { onProgress: shell.onProgress("multi-queries"), onUnreadable, ...rankOptions(shell, rerank) };
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
  const rows = poolings.flatMap((pooling) => {
    const better = reranked[pooling];
    return [
      { label: `multi-query (${pooling})`, result: results[pooling]! },
      ...(better ? [{ label: `re-ranked (${pooling})`, result: better }] : []),
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

/** Undefined where no re-ranking is asked for; one of its parameters asks for it too. */
function rerankParameters(options: EvaluateOptions, standard: RerankParameters): RerankParameters | undefined {
  const { rerank, rerankK1, rerankK2, rerankLambda } = options;
  if (!rerank && rerankK1 === undefined && rerankK2 === undefined && rerankLambda === undefined) return undefined;
  return { k1: rerankK1 ?? standard.k1, k2: rerankK2 ?? standard.k2, lambda: rerankLambda ?? standard.lambda };
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
  const phases = { neighbours: progress("nearest neighbours"), vectors: progress("reciprocal vectors") };
  return {
    onRanked: progress("ranking"),
    rerank: parameters && { ...parameters, onProgress: (phase, done, total) => phases[phase](done, total) },
  };
}
