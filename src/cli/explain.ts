import { type Command, InvalidArgumentError } from "commander";
import { UserError } from "../errors.js";
import { DATASET_HELP, type DatasetOptions, layoutOption } from "./dataset-options.js";
import type { MapOptions } from "./map-options.js";
import { PERTURB_OPTION, perturbAmount } from "./perturb-option.js";
import { collect, run } from "./shell.js";

interface ExplainOptions extends Pick<DatasetOptions, "layout">, Omit<MapOptions, "labels"> {
  weights: readonly string[];
  label: readonly string[];
  class: ClassChoice;
  data?: string;
  perturb?: number | true;
  out: string;
}

/** A person, each classifier's own prediction, or the person whom the picture shows by its dataset or its name. */
export type ClassChoice = number | "predicted" | "true";

/** `mpn explain`: where the classifiers of networks look. */
export function register(program: Command): void {
  program
    .command("explain")
    .description(
      "show where each classifier of a network looks (Grad-CAM, Fig. 7 and 8), several networks side by side",
    )
    .argument("<images...>", "image files, or folders that are searched for images")
    .option("--weights <checkpoint>", "a network, as train wrote it; once for each to compare", collect, [])
    .option("--label <text>", "what that network is called; once for each --weights", collect, [])
    .option(
      "--class <which>",
      "whose evidence is shown: predicted, by each classifier for itself, as in the paper; true, the person of the " +
        "picture (by --data or else by its name) if the network knows them; or the number of a person of the training set",
      classChoice,
      "predicted",
    )
    .option("--data <dataset>", `who the images show, where their names do not tell: ${DATASET_HELP}`)
    .addOption(layoutOption())
    .option(...PERTURB_OPTION)
    .option(
      "--parsing <folder>",
      "human parsing maps of the images: also measure how much of each classifier's map lies on its own part of the person",
    )
    .option("--segmentation <folder>", "their segmentation maps, instead of segmentation/ beside that folder")
    .option("--out <folder>", "folder for explain.html and a PNG for each picture", "explain")
    .action(
      run(async (shell, places: string[], options: ExplainOptions) => {
        const { weights, label } = options;
        if (weights.length === 0) {
          throw new UserError(
            "Which network? Name the checkpoint.safetensors that train wrote with --weights, once for each to compare.",
            { exitCode: 2 },
          );
        }
        if (label.length > 0 && label.length !== weights.length) {
          throw new UserError(`${weights.length} --weights and ${label.length} --label: give one for each, or none.`, {
            exitCode: 2,
          });
        }
        if (options.layout !== undefined && options.data === undefined) {
          throw new UserError("--layout is that of the dataset that --data names. Name it, or leave --layout out.", {
            exitCode: 2,
          });
        }
        if (options.segmentation !== undefined && options.parsing === undefined) {
          throw new UserError("--segmentation completes --parsing: parts of a person need parsing maps. Name both.", {
            exitCode: 2,
          });
        }
        const { explain } = await import("./explain/run.js");
        return explain(shell, places, { ...options, perturb: perturbAmount(options.perturb) ?? 0 });
      }),
    );
}

function classChoice(text: string): ClassChoice {
  if (text === "predicted" || text === "true") return text;
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Expected predicted, true or the number of a person.");
  return Number(text);
}
