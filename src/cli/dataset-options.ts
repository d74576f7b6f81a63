/** The options by which commands are told of datasets, and reading one with what there is to say of it. */
import { type Command, Option } from "commander";
import type { Dataset, LoadOptions, Subset } from "../data/dataset.js";
import { LAYOUTS, type Layout } from "../data/datasets/types.js";
import type { Shell } from "./shell.js";

export type DatasetOptions = Pick<LoadOptions, "layout" | "trainVal" | "distractors">;

export const DATASET_HELP = "folder or CSV file, in any layout (see --layout), or LAYOUT:FOLDER";

export const layoutOption = () =>
  new Option("--layout <name>", "layout of the dataset; by default it is told from the files").choices(LAYOUTS);

/** Adds the options that concern the training images, the gallery or both. */
export function addDatasetOptions(command: Command, parts: readonly ("train" | "gallery")[]): Command {
  command.addOption(layoutOption());
  if (parts.includes("train"))
    command.option("--train-val", "train on the validation images too (MSMT17's list_val, a pytorch tree's train_all)");
  if (parts.includes("gallery"))
    command.option(
      "--distractors <folder>",
      "add the images of a folder to the gallery as distractors (Market-1501's 500k)",
    );
  return command;
}

const WITH_LAYOUT = new RegExp(`^(${LAYOUTS.join("|")}):(.+)$`);

/**
 * Reads a dataset and warns of what is odd about it.
 *
 * @param place a folder or file, or `LAYOUT:PLACE`
 * @throws UserError where query and gallery are needed, and nothing can be measured with them
 */
export async function openDataset(
  shell: Shell,
  place: string,
  needed: readonly Subset[],
  options: DatasetOptions & { multiQuery?: boolean } = {},
): Promise<Dataset> {
  const { loadDataset, requireAnswers } = await import("../data/dataset.js");
  const [, layout = options.layout, path = place] = WITH_LAYOUT.exec(place) ?? [];
  const dataset = await loadDataset(path, needed, {
    ...options,
    layout: layout as Layout | undefined,
    onProgress: shell.onProgress("unpacking images"),
  });
  for (const warning of dataset.warnings) shell.warn(warning);
  if (needed.includes("query") && needed.includes("gallery")) requireAnswers(dataset);
  return dataset;
}
