/** `--perturb [amount]`, which several commands have. */
import { numberFrom } from "./shell.js";

const HEAVY = 1;

/** For `command.option(...PERTURB_OPTION)`; without the amount it is heavy. */
export const PERTURB_OPTION = [
  "--perturb [amount]",
  "add detector errors to every picture and its maps: boxes moved by up to 20% of the height and 15% of the width, scaled by up to 1.3 (times amount, 1 unless given)",
  numberFrom(0, 2),
] as const;

/** What commander leaves: true for the option alone. */
export const perturbAmount = (value: number | true | undefined) => (value === true ? HEAVY : value);

/** The same as `key=value` settings. */
export function perturbSettings(options: { perturb?: number | true }): string[] {
  const value = perturbAmount(options.perturb);
  return value === undefined ? [] : [`perturb=${value}`];
}
