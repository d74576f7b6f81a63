import { Option } from "commander";
import { PRECISIONS } from "../graph/storage.js";

/** `--precision` of the commands that use a trained network. */
export const precisionOption = (): Option =>
  new Option("--precision <name>", "how feature maps are stored (default: as in training)").choices(PRECISIONS);
