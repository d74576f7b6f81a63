import type { Command } from "commander";
import { UserError } from "../errors.js";
import type { Precision } from "../graph/storage.js";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { addEvaluationOptions, type EvaluationOptions } from "./evaluation-options.js";
import { addFlipOptions, matrixUnitsOption, precisionOption } from "./network-options.js";
import { checkOutput } from "./outputs.js";
import { PERTURB_OPTION, perturbAmount } from "./perturb-option.js";
import { run, type Shell, wholeNumber } from "./shell.js";

interface EvaluateOptions extends DatasetOptions, EvaluationOptions {
  weights?: string;
  flip?: boolean;
  perturb?: number | true;
  report?: string;
  queries?: number;
  worst?: boolean;
  strict?: boolean;
  precision?: Precision;
  matrixUnits?: boolean;
}

const SHOWN_QUERIES = 8;

/** `mpn evaluate`: CMC and mAP of a network on one dataset or several. */
export function register(program: Command): void {
  const command = addFlipOptions(program.command("evaluate"))
    .description("Rank-1/5/10/20 and mAP (both definitions) of a network, by single queries and multi-queries")
    .argument("<datasets...>", `datasets with query and gallery: ${DATASET_HELP}`)
    .option("--weights <checkpoint>", "the network; by default the small one that ships")
    .option(...PERTURB_OPTION)
    .addOption(precisionOption())
    .addOption(matrixUnitsOption())
    .option("--report <file>", "also write a page with CMC curve and ranked lists (one dataset)")
    .option("--queries <n>", `ranked lists on that page (default: ${SHOWN_QUERIES})`, wholeNumber(1))
    .option("--worst", "there, the queries of least average precision, instead of some spread evenly over all")
    .option("--strict", "fail on an image that cannot be read instead of leaving it out")
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
        for (const option of ["queries", "worst"] as const) {
          if (options.report === undefined && options[option] !== undefined)
            throw new UserError(`--${option} says which ranked lists a page shows: name one with --report.`, {
              exitCode: 2,
            });
        }
        if (options.report !== undefined)
          await checkOutput("--report", options.report, "page", [options.weights, ...folders]);
        const { layout, distractors } = options;
        const multiQuery = options.multiQuery !== undefined;
        const datasets: Dataset[] = [];
        for (const folder of folders) {
          datasets.push(await openDataset(shell, folder, ["query", "gallery"], { layout, distractors, multiQuery }));
        }
        const { loadNetwork, openDevice } = await import("./common.js");
        const device = await openDevice(shell, { matrixUnits: options.matrixUnits });
        try {
          const perturb = perturbAmount(options.perturb) ?? 0;
          const network = await loadNetwork(shell, device, options.weights, options.flip, perturb, options.precision);
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
  addDatasetOptions(addEvaluationOptions(command), ["gallery"]);
}

type Common = typeof import("./common.js");
type Network = Awaited<ReturnType<Common["loadNetwork"]>>;
type Device = Awaited<ReturnType<Common["openDevice"]>>;
type Dataset = Awaited<ReturnType<typeof openDataset>>;

async function evaluateOne(shell: Shell, device: Device, network: Network, dataset: Dataset, options: EvaluateOptions) {
  const { countUnreadable, paceFields, paceText, printEvaluations, printUnexcluded } = await import("./common.js");
  const { formatDatasetTable, datasetTable, remarks, unexcluded } = await import("../data/dataset.js");
  const { evaluateFully } = await import("./evaluation.js");
  shell.print(`${dataset.name}  (${dataset.root})`);
  shell.print(formatDatasetTable(dataset));
  const unreadable = countUnreadable(shell);
  const onUnreadable = options.strict ? undefined : unreadable.onUnreadable;
  const showing = { display: "evaluating", onUnreadable };
  const evaluated = await evaluateFully(shell, device, network, dataset, options, showing);
  const { single: evaluation, others, fields } = evaluated;
  printEvaluations(shell, [{ label: dataset.name, result: evaluation.result }, ...others]);
  printUnexcluded(shell, dataset);
  const { extractSeconds, rankSeconds, pace } = evaluation;
  shell.print(`features in ${extractSeconds.toFixed(1)} s (${paceText(pace)}), ranking in ${rankSeconds.toFixed(1)} s`);
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
        { label: network.checkpoint.path, ...evaluation.result },
        ...others.map(({ result, ...named }) => ({ ...named, ...result })),
      ],
      notes: remarks(dataset),
      metrics: [],
      rankedLists: await rankedLists(dataset, evaluation, {
        count: options.queries ?? SHOWN_QUERIES,
        worst: options.worst,
        perturb: network.perturb,
      }),
      timings: [
        { name: "Features", milliseconds: 1000 * extractSeconds },
        { name: "Ranking", milliseconds: 1000 * rankSeconds },
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
    flip: network.flip,
    perturb: perturbAmount(options.perturb) ?? 0,
    ...fields,
    sameCameraExcluded: unexcluded(dataset) === null,
    unreadable: unreadable.count,
    extractSeconds,
    rankSeconds,
    pace: paceFields(pace),
  };
}
