import { type Command, Option } from "commander";
import type { SynthOptions } from "../data/synth/dataset.js";
import { SYNTH_DEFAULTS } from "../data/synth/defaults.js";
import { formatSeconds } from "./progress.js";
import { cpuOnly, heightByWidth, numberFrom, run, wholeNumber } from "./shell.js";

/** `mpn synth`: writes a dataset of synthetic people in the layout of Market-1501, with the maps that priors need. */
export function register(program: Command): void {
  const command = program
    .command("synth")
    .description("write a dataset of synthetic people, with parsing and segmentation maps")
    .argument("<folder>", "folder to write, in the layout of Market-1501; an older synthetic dataset in it is replaced")
    .option(
      "--seed <n>",
      "names the people, cameras and pictures; equal options give equal files",
      wholeNumber(),
      SYNTH_DEFAULTS.seed,
    )
    .option("--train-people <n>", "people to train on", wholeNumber(), SYNTH_DEFAULTS.trainPeople)
    .option("--test-people <n>", "people to evaluate on", wholeNumber(), SYNTH_DEFAULTS.testPeople)
    .option("--cameras <n>", "cameras", wholeNumber(1), SYNTH_DEFAULTS.cameras)
    .option(
      "--images-per-camera <n>",
      "pictures of each person by each camera",
      wholeNumber(1),
      SYNTH_DEFAULTS.imagesPerCamera,
    )
    .addOption(
      new Option("--size <HxW>", "height and width of the pictures in pixels")
        .argParser(heightByWidth)
        .default(SYNTH_DEFAULTS.size, SYNTH_DEFAULTS.size.join("x")),
    )
    .option(
      "--detector-error <x>",
      "how far the boxes are off: 0 exact, 1 as a real detector's, 2 heavy",
      numberFrom(0, 5),
      SYNTH_DEFAULTS.detectorError,
    )
    .option(
      "--distractors <n>",
      "gallery pictures of people whom no query shows (id 0000)",
      wholeNumber(),
      SYNTH_DEFAULTS.distractors,
    )
    .option("--junk <n>", "gallery pictures of badly cut boxes (id -1)", wholeNumber(), SYNTH_DEFAULTS.junk)
    .option("--quality <n>", "JPEG quality of the best camera", wholeNumber(1), SYNTH_DEFAULTS.quality)
    .addOption(
      new Option("--format <format>", "format of the pictures").choices(["jpeg", "png"]).default(SYNTH_DEFAULTS.format),
    )
    .addOption(
      new Option(
        "--outfits <kind>",
        "varied, or arranged: everybody in the same colours, told apart by which part wears which",
      )
        .choices(["varied", "arranged"])
        .default(SYNTH_DEFAULTS.outfits),
    )
    .option("--test-maps", "write maps of query and gallery pictures too")
    .option("--no-maps", "write no parsing and segmentation maps")
    .action(
      run(async (shell, folder: string, options: SynthOptions) => {
        const { writeSyntheticDataset } = await import("../data/synth/dataset.js");
        const summary = await writeSyntheticDataset(folder, options, shell.onProgress("drawing"));
        const { loadDataset, formatDatasetTable, SUBSET_FOLDERS } = await import("../data/dataset.js");
        const { trainPeople, testPeople } = summary.options;
        const subsets = Object.keys(SUBSET_FOLDERS) as (keyof typeof SUBSET_FOLDERS)[];
        const written = subsets.filter((subset) => (subset === "train" ? trainPeople : testPeople) > 0);
        shell.print(formatDatasetTable(await loadDataset(folder, written, { layout: "market" })));
        shell.print(`written to ${summary.dir} in ${formatSeconds(summary.seconds)}`);
        return summary;
      }),
    );
  cpuOnly(command);
}
