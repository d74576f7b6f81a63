/** Where parsing and segmentation maps lie and what their labels mean, as the commands that make priors of them are told. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { LABEL_SETS, type LabelSet } from "../data/label-sets.js";

export interface MapOptions {
  parsing?: string;
  segmentation?: string;
  labels?: LabelSet;
}

export function withMapOptions(command: Command): Command {
  return command
    .option("--parsing <folder>", "human parsing maps of the training images, instead of parsing/ in the dataset")
    .option("--segmentation <folder>", "their segmentation maps, instead of segmentation/ and <split>_seg/")
    .addOption(
      new Option("--labels <set>", "label set of the parsing maps (default: lip)").choices(Object.keys(LABEL_SETS)),
    );
}

/** The same as settings, which a run keeps; JSON is YAML too, whatever the path holds. */
export function mapSettings({ labels, ...folders }: MapOptions): string[] {
  const named = (["parsing", "segmentation"] as const).flatMap((key) => {
    const folder = folders[key];
    return folder === undefined ? [] : [`${key}=${JSON.stringify(resolve(folder))}`];
  });
  return labels === undefined ? named : [...named, `labels=${labels}`];
}
