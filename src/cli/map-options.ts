/** Where parsing and segmentation maps lie, as `mpn prior` and `mpn train` are told. */
import { resolve } from "node:path";
import type { Command } from "commander";

export interface MapOptions {
  parsing?: string;
  segmentation?: string;
}

export function withMapFolders(command: Command): Command {
  return command
    .option("--parsing <folder>", "human parsing maps of the training images, instead of parsing/ in the dataset")
    .option("--segmentation <folder>", "their segmentation maps, instead of segmentation/ and <split>_seg/");
}

/** The same as settings, which a run keeps; JSON is YAML too, whatever the path holds. */
export function mapSettings(options: MapOptions): string[] {
  return (["parsing", "segmentation"] as const).flatMap((key) => {
    const folder = options[key];
    return folder === undefined ? [] : [`${key}=${JSON.stringify(resolve(folder))}`];
  });
}
