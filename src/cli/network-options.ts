import { Option } from "commander";
import { PRECISIONS } from "../graph/storage.js";

/** `--precision` of the commands that use a trained network. */
export const precisionOption = (): Option =>
  new Option("--precision <name>", "how feature maps are stored (default: as in training)").choices(PRECISIONS);

/** `--precision` of the commands that make a network of their own. */
export const storageOption = (): Option =>
  new Option("--precision <name>", "how feature maps are stored").choices(PRECISIONS).default("float32");

/** `--matrix-units` of the commands that tune, time, check or use a network (`OpenOptions.matrixUnits`). */
export const matrixUnitsOption = (): Option =>
  new Option(
    "--matrix-units",
    "let convolutions round their operands to what the adapter's matrix units multiply (f16)",
  );
