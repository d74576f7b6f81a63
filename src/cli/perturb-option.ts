/** `--perturb [amount]`, which several commands have. */
import { InvalidArgumentError } from "commander";

const HEAVY = 1;

/** For `command.option(...PERTURB_OPTION)`; without the amount it is heavy. */
export const PERTURB_OPTION = [
  "--perturb [amount]",
  "add detector errors to every picture and its maps: boxes moved by up to 20% of the height and 15% of the width, scaled by up to 1.3 (times amount, 1 unless given)",
  amount,
] as const;

function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 2))
    throw new InvalidArgumentError("Expected a number from 0 to 2.");
  return value;
}

/** What commander leaves: true for the option alone. */
export const perturbAmount = (value: number | true | undefined) => (value === true ? HEAVY : value);

/** The same as `key=value` settings. */
export function perturbSettings(options: { perturb?: number | true }): string[] {
  const value = perturbAmount(options.perturb);
  return value === undefined ? [] : [`perturb=${value}`];
}
