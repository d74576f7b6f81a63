import { Device, type OpenOptions } from "../gpu/device.js";
import { usableUnits } from "../ops/conv-matrix.js";
import { readTuned } from "./cache.js";

/** Where lines for the user go: a warning, and what is good to know. */
export interface Lines {
  readonly warn: (line: string) => void;
  readonly note: (line: string) => void;
}

/** The adapter, with what `mpn tune` found on it; says so where it lacks what is asked of it. */
export async function openTuned({ warn, note }: Lines, options: OpenOptions = {}): Promise<Device> {
  const device = await Device.open(options);
  if (options.matrixUnits && !usableUnits(device.profile))
    warn(`--matrix-units: ${device.profile.name} has none that the kernels can use; nothing changes`);
  const tuned = await readTuned(device.profile, warn);
  const count = Object.keys(tuned).length;
  if (count > 0) note(`kernels are chosen as they were tuned on this adapter, for ${count} problems`);
  device.useTuned(tuned);
  return device;
}
