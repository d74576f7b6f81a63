import type { Command } from "commander";
import { addDatasetOptions, DATASET_HELP, type DatasetOptions, openDataset } from "./dataset-options.js";
import { type MapOptions, mapSettings, withMapOptions } from "./map-options.js";
import { PERTURB_OPTION, perturbSettings } from "./perturb-option.js";
import { collect, cpuOnly, run } from "./shell.js";

interface Options extends DatasetOptions, MapOptions {
  preset?: string;
  config?: string;
  perturb?: number | true;
  set: string[];
}

/** `mpn prior`: parsing and segmentation maps of a dataset -> its coarse priors (Sec. 3.2), cached in one file. */
export function register(program: Command): void {
  const command = withMapOptions(program.command("prior"))
    .description("make the coarse priors of a dataset from its parsing and segmentation maps")
    .argument("<dataset>", `${DATASET_HELP}, with parsing/ or <split>_seg/ beside its images`)
    .option("--preset <name>", "preset whose image size decides the size of the priors")
    .option("--config <file>", "YAML file of settings")
    .option(...PERTURB_OPTION)
    .option("--set <key=value>", "one setting as train has it, such as perturbSeed=1; repeatable", collect, [])
    .action(
      run(async (shell, folder: string, options: Options) => {
        const [{ buildPriors }, { searchedFor }, { detectorErrorsOf }, { loadConfig }, { featureSize }] =
          await Promise.all([
            import("../data/prior-cache.js"),
            import("../data/prior-maps.js"),
            import("../training/config.js"),
            import("../training/load-config.js"),
            import("../models/config.js"),
          ]);
        const set = [...mapSettings(options), ...perturbSettings(options), ...options.set];
        const config = loadConfig({ preset: options.preset, file: options.config, set });
        const dataset = await openDataset(shell, folder, ["train"], {
          layout: options.layout,
          trainVal: options.trainVal,
        });
        const [rows, cols] = featureSize(config.imageSize);
        const settings = { rows, cols, labels: config.labels, perturb: detectorErrorsOf(config) };
        const { counts, file } = await buildPriors(dataset, settings, {
          parsing: config.parsing,
          segmentation: config.segmentation,
          onProgress: shell.onProgress("priors"),
        });
        const { perturb, perturbSeed } = config;
        const seen = perturb > 0 ? `, with detector errors of amount ${perturb} and seed ${perturbSeed}` : "";
        shell.print(`${dataset.train.length} training images, priors of ${rows} x ${cols} cells${seen}`);
        shell.print(`  reliable    ${counts.reliable}`);
        shell.print(
          `  extent      ${counts.segmentationOnly}  (a segmentation map alone: head and legs are taken for granted)`,
        );
        shell.print(
          `  unreliable  ${counts.unreliable}  (head or legs missing, or nobody there; the whole image is used)`,
        );
        shell.print(`  no maps     ${counts.missing}  (the whole image is used)`);
        if (counts.missing === dataset.train.length)
          shell.warn(`there are no maps: ${searchedFor(dataset.root, dataset.train[0])}. Name others with --parsing.`);
        else if (file === null) shell.warn("nothing was cached: no folder could be written");
        else shell.print(`cached in ${file}`);
        return { images: dataset.train.length, ...settings, perturb, perturbSeed, ...counts, file };
      }),
    );
  cpuOnly(addDatasetOptions(command, ["train"]));
}
