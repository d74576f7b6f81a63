/** The folder of a training run, and how one is told from a folder that somebody else filled. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { removeLeftovers, writeAside } from "../formats/write-aside.js";
import type { TrainConfig } from "../training/config.js";
import { CHECKPOINT_FILE } from "../training/trainer.js";
import { checkOutFolder } from "./outputs.js";

export const CONFIG_FILE = "config.yaml";
export const REPORT_FILE = "report.html";

/** Opens the configuration that a run writes first of all: what a run stopped before its first checkpoint is known by. */
const MARK = "# Written by mpn train: all settings of the run in this folder.\n";

/** Makes the folder, or clears it of what a run that was killed amid a save left: a file as large as a checkpoint. */
export async function startRunFolder(folder: string, config: TrainConfig): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const name of [CHECKPOINT_FILE, CONFIG_FILE, REPORT_FILE]) await removeLeftovers(join(folder, name));
  await writeAside(join(folder, CONFIG_FILE), MARK + stringify(config));
}

/**
 * @param command that --out is for
 * @param beside entries that do not matter
 * @throws UserError when the folder holds other things than an earlier run, whole or stopped
 */
export async function checkRunFolder(folder: string, command: string, beside: readonly string[] = []): Promise<void> {
  const [checkpoint, config] = [CHECKPOINT_FILE, CONFIG_FILE].map((name) => join(folder, name));
  const isRun = () => existsSync(checkpoint) || (existsSync(config) && readFileSync(config, "utf8").startsWith(MARK));
  await checkOutFolder(folder, command, isRun, beside);
}
