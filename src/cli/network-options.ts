import { type Command, Option } from "commander";
import { PRECISIONS } from "../graph/storage.js";

/** `--precision` of the commands that use a trained network. */
export const precisionOption = (): Option =>
  new Option("--precision <name>", "how feature maps are stored (default: as in training)").choices(PRECISIONS);

/** `--precision` of the commands that make a network of their own. */
export const storageOption = (): Option =>
  new Option("--precision <name>", "how feature maps are stored").choices(PRECISIONS).default("float32");

/** `--flip` and `--no-flip` of the commands that represent images; where neither is given, the network's own setting holds. */
export const addFlipOptions = (command: Command): Command =>
  command
    .option("--flip", "average the features of an image with those of its mirror image (default: as in training)")
    .option("--no-flip", "use the image alone");

/** `--matrix-units` of the commands that make, tune, time, check or use a network (`OpenOptions.matrixUnits`). */
export const matrixUnitsOption = (): Option =>
  new Option(
    "--matrix-units",
    "let convolutions round their operands to what the adapter's matrix units multiply (f16)",
  );

/** The same as `key=value` settings of a training run. */
export const matrixUnitsSettings = (options: { matrixUnits?: boolean }): string[] =>
  options.matrixUnits ? ["matrixUnits=true"] : [];
