import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { UserError } from "../errors.js";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { addEvaluationOptions, asksToRerank, type EvaluationOptions } from "./evaluation-options.js";
import { type MapOptions, mapSettings, withMapOptions } from "./map-options.js";
import { matrixUnitsOption, matrixUnitsSettings } from "./network-options.js";
import { PERTURB_OPTION, perturbSettings } from "./perturb-option.js";
import { collect, run } from "./shell.js";

interface TrainOptions extends DatasetOptions, EvaluationOptions, MapOptions {
  test: string[];
  out: string;
  model?: string;
  preset?: string;
  config?: string;
  variant?: string;
  perturb?: number | true;
  matrixUnits?: boolean;
  set: string[];
  resume?: boolean;
  init?: string;
  evaluate: boolean;
}

/** `mpn train`: trains MPN, a variant of it by configuration, or one of its peers on a dataset. */
export function register(program: Command): void {
  const command = withMapOptions(program.command("train"))
    .description("train MPN, a variant of it or one of its peers on a dataset")
    .argument("<dataset>", `training images and, to evaluate, query and gallery: ${DATASET_HELP}`)
    .requiredOption("--out <folder>", "folder for checkpoint, metrics, configuration and report")
    .option(
      "--model <name>",
      "mpn, ide (which MPN starts from), pcb, mgn or pyramid; as --set model=<name> (default: mpn)",
    )
    .option("--preset <name>", "paper (ResNet-50 at 384x128), small (for CPUs) or official (as the published code)")
    .option("--config <file>", "YAML file of settings, over the preset")
    .option("--set <key=value>", "one setting, over all others; repeatable", collect, [])
    .option("--variant <name>", "a variant of the paper's tables, such as mt-only; mpn ablate --list names them")
    .option(...PERTURB_OPTION)
    .addOption(matrixUnitsOption())
    .option("--resume", "go on from the checkpoint in --out, to the same weights as if never stopped")
    .option(
      "--init <checkpoint>",
      "start from what fits of this checkpoint, which may be another model's, such as ide's",
    )
    .option(
      "--test <dataset>",
      "evaluate on this dataset too, once trained (as LAYOUT:FOLDER where the layout must be said); repeatable",
      collect,
      [],
    )
    .option("--no-evaluate", "do not evaluate before, during and after training")
    .action(
      run(async (shell, folder: string, options: TrainOptions) => {
        const { loadConfig } = await import("../training/load-config.js");
        const { CONFIG_FILE, checkRunFolder } = await import("./run-folder.js");
        const { trainRun } = await import("./train-run.js");
        const { requireAnswers } = await import("../data/dataset.js");
        const { modelOf } = await import("../models/index.js");
        const { usableUnits } = await import("../ops/conv-matrix.js");
        const multiQuery = options.multiQuery !== undefined;
        const asking = [
          options.test.length > 0 && "--test",
          multiQuery && "--multi-query",
          asksToRerank(options) && "--rerank",
        ].find((option) => option !== false);
        if (asking !== undefined && !options.evaluate)
          throw new UserError(`${asking} asks for an evaluation, --no-evaluate for none; leave one out.`, {
            exitCode: 2,
          });
        const { canEvaluate, openDevice } = await import("./common.js");
        // A resumed run goes on with its own settings, unless others are named.
        const own = join(options.out, CONFIG_FILE);
        if (options.config !== undefined && resolve(options.config) === resolve(own) && !options.resume)
          throw new UserError(
            `--config ${options.config} is the file into which the run in --out writes its settings, and would be replaced. ` +
              "Choose another folder.",
            { exitCode: 2 },
          );
        await checkRunFolder(options.out, "train");
        const file = options.config ?? (options.resume && !options.preset && existsSync(own) ? own : undefined);
        const { preset, model, variant } = options;
        const set = [mapSettings(options), perturbSettings(options), matrixUnitsSettings(options), options.set].flat();
        const config = loadConfig({ preset, model, file, variant, set });
        const { layout, trainVal, distractors } = options;
        const dataset = await openDataset(shell, folder, ["train"], { layout, trainVal, distractors });
        // Before the training whose evaluation would measure nothing.
        if (options.evaluate && canEvaluate(dataset))
          requireAnswers(dataset, "--no-evaluate trains without evaluating.");
        if (multiQuery && canEvaluate(dataset)) {
          const told = { ...shell, warn: () => {} };
          const reading = { layout, distractors, multiQuery };
          dataset.multiQuery = (await openDataset(told, folder, ["query", "gallery"], reading)).multiQuery;
        }
        // Datasets that the network is not trained on are read before the work begins, so that a wrong path costs none.
        const tests = [];
        for (const place of options.test)
          tests.push(await openDataset(shell, place, ["query", "gallery"], { multiQuery }));
        if (options.evaluate && !canEvaluate(dataset))
          shell.warn(
            `${dataset.root} has no query and gallery images; the network is trained without being evaluated on it.`,
          );
        const device = await openDevice(shell, { matrixUnits: config.matrixUnits });
        try {
          const { out, init, resume = false, evaluate } = options;
          const result = await trainRun(shell, {
            device,
            dataset,
            tests,
            config,
            folder: out,
            resume,
            init,
            evaluate,
            evaluation: options,
            title: `${modelOf(config).title} on ${dataset.name}`,
          });
          if (result.interrupted) {
            shell.note(`Stopped after step ${result.steps}. Go on with the same command and --resume.`);
            process.exitCode = 130;
          }
          return { adapter: device.profile.name, matrixUnits: usableUnits(device.profile) ?? null, ...result };
        } finally {
          device.close();
        }
      }),
    );
  addDatasetOptions(addEvaluationOptions(command), ["train", "gallery"]);
}
