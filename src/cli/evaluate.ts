import { type Command, InvalidArgumentError } from "commander";
import type { RerankParameters } from "../retrieval/rerank.js";
import { run, type Shell, wholeNumber } from "./shell.js";

interface EvaluateOptions {
  weights?: string;
  flip: boolean;
  report?: string;
  strict?: boolean;
  rerank?: boolean;
  rerankK1?: number;
  rerankK2?: number;
  rerankLambda?: number;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError("Expected a number from 0 to 1.");
  return value;
}

/** `mpn evaluate`: CMC and mAP of a network on one dataset or several. */
export function register(program: Command): void {
  program
    .command("evaluate")
    .description("Rank-1/5/10/20 and mAP (both definitions) of a network, single query")
    .argument("<datasets...>", "folders with query and bounding_box_test, in the layout of Market-1501")
    .option("--weights <checkpoint>", "the network; by default the small one that ships")
    .option("--no-flip", "use the image alone, without averaging in its mirror image")
    .option("--report <file>", "also write a page with CMC curve and ranked lists (one dataset)")
    .option("--strict", "fail on an image that cannot be read instead of leaving it out")
    .option("--rerank", "also re-rank by k-reciprocal neighbours; both results are printed")
    .option("--rerank-k1 <n>", "length of the lists in which neighbours must be reciprocal (20)", wholeNumber(1))
    .option("--rerank-k2 <n>", "neighbours whose vectors are averaged (6)", wholeNumber(1))
    .option("--rerank-lambda <share>", "weight of the original distance, 0 to 1 (0.3)", share)
    .action(
      run(async (shell, folders: string[], options: EvaluateOptions) => {
        const { loadDataset } = await import("../data/dataset.js");
        const datasets = [];
        for (const folder of folders) datasets.push(await loadDataset(folder, ["query", "gallery"]));
        const { loadNetwork, openDevice } = await import("./common.js");
        const device = await openDevice(shell);
        try {
          const network = await loadNetwork(device, options.weights, options.flip);
          const results = [];
          for (const dataset of datasets) results.push(await evaluateOne(shell, device, network, dataset, options));
          await network.close();
          return results.length === 1 ? results[0] : { datasets: results };
        } finally {
          device.close();
        }
      }),
    );
}

type Common = typeof import("./common.js");
type Network = Awaited<ReturnType<Common["loadNetwork"]>>;
type Device = Awaited<ReturnType<Common["openDevice"]>>;
type Dataset = Awaited<ReturnType<typeof import("../data/dataset.js").loadDataset>>;

async function evaluateOne(shell: Shell, device: Device, network: Network, dataset: Dataset, options: EvaluateOptions) {
  const { countUnreadable, evaluationFields, printEvaluations } = await import("./common.js");
  const { DEFAULT_RERANK } = await import("../retrieval/rerank.js");
  const { formatDatasetTable, datasetTable } = await import("../data/dataset.js");
  const { evaluateDataset } = await import("../retrieval/evaluate.js");
  shell.print(`${dataset.name}  (${dataset.root})`);
  shell.print(formatDatasetTable(dataset));
  const unreadable = countUnreadable(shell);
  const parameters = rerankParameters(options, DEFAULT_RERANK);
  const phases = {
    neighbours: shell.onProgress("nearest neighbours"),
    vectors: shell.onProgress("reciprocal vectors"),
  };
  const evaluation = await evaluateDataset(device, network.extractor, dataset, network.pool, {
    onProgress: shell.onProgress("evaluating"),
    onUnreadable: options.strict ? undefined : unreadable.onUnreadable,
    onRanked: shell.onProgress("ranking"),
    rerank: parameters && { ...parameters, onProgress: (phase, done, total) => phases[phase](done, total) },
  });
  const { result, reranked } = evaluation;
  printEvaluations(shell, [
    { label: dataset.name, result },
    ...(reranked ? [{ label: "  re-ranked", result: reranked }] : []),
  ]);
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
      evaluations: [
        { label: network.checkpoint.path, ...result },
        ...(reranked ? [{ label: "re-ranked", ...reranked }] : []),
      ],
      metrics: [],
      rankedLists: await rankedLists(dataset, evaluation, 8),
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
    adapter: device.profile.name,
    weights: network.checkpoint.path,
    flip: options.flip,
    ...evaluationFields(result),
    ...(reranked && { rerank: { ...parameters, ...evaluationFields(reranked) } }),
    unreadable: unreadable.count,
    extractSeconds: evaluation.extractSeconds,
    rankSeconds: evaluation.rankSeconds,
  };
}

/** Undefined where no re-ranking is asked for; one of its parameters asks for it too. */
function rerankParameters(options: EvaluateOptions, standard: RerankParameters): RerankParameters | undefined {
  const { rerank, rerankK1, rerankK2, rerankLambda } = options;
  if (!rerank && rerankK1 === undefined && rerankK2 === undefined && rerankLambda === undefined) return undefined;
  return { k1: rerankK1 ?? standard.k1, k2: rerankK2 ?? standard.k2, lambda: rerankLambda ?? standard.lambda };
}
