import type { Command } from "commander";
import { PERTURB_OPTION, perturbAmount } from "./perturb-option.js";
import { run, type Shell } from "./shell.js";

interface EvaluateOptions {
  weights?: string;
  flip: boolean;
  perturb?: number | true;
  report?: string;
  strict?: boolean;
}

/** `mpn evaluate`: CMC and mAP of a network on one dataset or several. */
export function register(program: Command): void {
  program
    .command("evaluate")
    .description("Rank-1/5/10/20 and mAP (both definitions) of a network, single query")
    .argument("<datasets...>", "folders with query and bounding_box_test, in the layout of Market-1501")
    .option("--weights <checkpoint>", "the network; by default the small one that ships")
    .option("--no-flip", "use the image alone, without averaging in its mirror image")
    .option(...PERTURB_OPTION)
    .option("--report <file>", "also write a page with CMC curve and ranked lists (one dataset)")
    .option("--strict", "fail on an image that cannot be read instead of leaving it out")
    .action(
      run(async (shell, folders: string[], options: EvaluateOptions) => {
        const { loadDataset } = await import("../data/dataset.js");
        const datasets = [];
        for (const folder of folders) datasets.push(await loadDataset(folder, ["query", "gallery"]));
        const { loadNetwork, openDevice } = await import("./common.js");
        const device = await openDevice(shell);
        try {
          const perturb = perturbAmount(options.perturb) ?? 0;
          const network = await loadNetwork(device, options.weights, options.flip, perturb);
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
}

type Common = typeof import("./common.js");
type Network = Awaited<ReturnType<Common["loadNetwork"]>>;
type Device = Awaited<ReturnType<Common["openDevice"]>>;
type Dataset = Awaited<ReturnType<typeof import("../data/dataset.js").loadDataset>>;

async function evaluateOne(shell: Shell, device: Device, network: Network, dataset: Dataset, options: EvaluateOptions) {
  const { countUnreadable, evaluationFields, printEvaluations } = await import("./common.js");
  const { formatDatasetTable, datasetTable } = await import("../data/dataset.js");
  const { evaluateDataset } = await import("../retrieval/evaluate.js");
  shell.print(`${dataset.name}  (${dataset.root})`);
  shell.print(formatDatasetTable(dataset));
  const unreadable = countUnreadable(shell);
  const evaluation = await evaluateDataset(device, network.extractor, dataset, network.pool, {
    onProgress: shell.onProgress("evaluating"),
    onUnreadable: options.strict ? undefined : unreadable.onUnreadable,
  });
  printEvaluations(shell, [{ label: dataset.name, result: evaluation.result }]);
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
      evaluations: [{ label: network.checkpoint.path, ...evaluation.result }],
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
    adapter: device.profile.name,
    weights: network.checkpoint.path,
    flip: options.flip,
    perturb: perturbAmount(options.perturb) ?? 0,
    ...evaluationFields(evaluation.result),
    unreadable: unreadable.count,
    extractSeconds: evaluation.extractSeconds,
    rankSeconds: evaluation.rankSeconds,
  };
}
