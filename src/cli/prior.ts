import { type Command, Option } from "commander";
import type { LabelSet } from "../data/prior.js";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { cpuOnly, run } from "./shell.js";

interface Options extends DatasetOptions {
  preset?: string;
  config?: string;
  labels?: LabelSet;
}

/** `mpn prior`: parsing and segmentation maps of a dataset -> its coarse priors (Sec. 3.2), cached in one file. */
export function register(program: Command): void {
  const command = program
    .command("prior")
    .description("make the coarse priors of a dataset from its parsing and segmentation maps")
    .argument("<dataset>", `${DATASET_HELP}, with parsing/ and segmentation/ beside its images`)
    .option("--preset <name>", "preset whose image size decides the size of the priors")
    .option("--config <file>", "YAML file of settings")
    .addOption(new Option("--labels <set>", "label set of the parsing maps").choices(["lip", "atr", "pascal"]))
    .action(
      run(async (shell, folder: string, options: Options) => {
        const [{ buildPriors }, { loadConfig }, { featureSize }] = await Promise.all([
          import("../data/prior-cache.js"),
          import("../training/config.js"),
          import("../models/config.js"),
        ]);
        const set = options.labels === undefined ? [] : [`labels=${options.labels}`];
        const config = loadConfig({ preset: options.preset, file: options.config, set });
        const dataset = await openDataset(shell, folder, ["train"], {
          layout: options.layout,
          trainVal: options.trainVal,
        });
        const [rows, cols] = featureSize(config.imageSize);
        const settings = { rows, cols, labels: config.labels };
        const { counts, file } = await buildPriors(dataset, settings, { onProgress: shell.onProgress("priors") });
        shell.print(`${dataset.train.length} training images, priors of ${rows} x ${cols} cells`);
        shell.print(`  reliable    ${counts.reliable}`);
        shell.print(`  unreliable  ${counts.unreliable}  (head or legs missing; the whole image is used)`);
        shell.print(`  no maps     ${counts.missing}  (the whole image is used)`);
        if (file === null) shell.warn("nothing was cached: there are no maps, or no folder could be written");
        else shell.print(`cached in ${file}`);
        return { images: dataset.train.length, ...settings, ...counts, file };
      }),
    );
  cpuOnly(addDatasetOptions(command, ["train"]));
}
