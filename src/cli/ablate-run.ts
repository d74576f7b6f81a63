/**
 * The runs of an ablation, one after the other on one device. Each has a folder with its checkpoint; one that came to an
 * end leaves `result.json` there and is not done again (one that failed only if asked to), one that was stopped goes on
 * from its checkpoint.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Dataset, remarks } from "../data/dataset.js";
import { NotFiniteError } from "../errors.js";
import { writeAside } from "../formats/write-aside.js";
import type { Device } from "../gpu/device.js";
import { type AblationData, type AblationRun, ablationMarkdown, summarizeAblation } from "../report/ablation.js";
import { renderAblationPage } from "../report/ablation-page.js";
import { writePage } from "../report/page.js";
import { percent } from "../text.js";
import { settingsInCommon, type TrainConfig } from "../training/config.js";
import { CHECKPOINT_FILE } from "../training/trainer.js";
import { DATABASES, PAPER_ORDER, type PaperTable, VARIANT_KEYS, VARIANTS, variantOf } from "../training/variants.js";
import { claimFolder } from "./ablate-folder.js";
import { formatSeconds } from "./progress.js";
import type { Shell } from "./shell.js";
import { trainRun } from "./train-run.js";

const RESULT_FILE = "result.json";
/** Results are `ablation.json`, `.md` and `.html`. */
const NAME = "ablation";

export interface AblationOptions {
  readonly device: Device;
  readonly dataset: Dataset;
  /** Settings of each variant, in the order in which a seed's runs are done; their seed is the first one. */
  readonly configs: ReadonlyMap<string, TrainConfig>;
  readonly tables: readonly PaperTable[];
  /** How many seeds. */
  readonly seeds: number;
  readonly folder: string;
  readonly init?: string;
  /** Whether runs that failed start anew. By default they are left: with everything the same they would fail the same way. */
  readonly retryFailed?: boolean;
}

interface Planned {
  readonly variant: string;
  readonly seed: number;
  readonly config: TrainConfig;
  readonly folder: string;
}

/** @returns what `ablation.json` holds, and whether the user stopped it */
export async function ablationRun(shell: Shell, options: AblationOptions) {
  const { device, configs, folder, init, retryFailed = false } = options;
  await claimFolder(options);
  const [{ seed: first }] = configs.values();
  const seeds = Array.from({ length: options.seeds }, (_, i) => first + i);
  // Seed after seed, so that an ablation stopped half way has as many runs of each variant.
  const planned = seeds.flatMap((seed) =>
    [...configs].map(([variant, config]): Planned => {
      return { variant, seed, config: { ...config, seed }, folder: join(folder, variant, `seed-${seed}`) };
    }),
  );
  const done = new Map<Planned, AblationRun>();
  const retried = new Set<Planned>();
  for (const run of planned) {
    const result = readResult(run.folder);
    if (result && !result.metrics && retryFailed) retried.add(run);
    else if (result) done.set(run, result);
  }
  const failed = [...done.values()].filter(({ metrics }) => !metrics).length;
  const hint = failed > 0 ? `; ${failed} of them failed, --retry-failed does those again` : "";
  if (done.size > 0) shell.note(`${done.size} of ${planned.length} runs are done already, in ${folder}${hint}`);

  let interrupted = false;
  let output = await writeTables(options, seeds, planned.length, [...done.values()]);
  for (const [i, run] of planned.entries()) {
    if (done.has(run)) continue;
    const title = `${variantOf(run.variant).title}, seed ${run.seed}`;
    // What it left is of the run that failed, its checkpoint too.
    if (retried.has(run)) rmSync(run.folder, { recursive: true });
    const resume = existsSync(join(run.folder, CHECKPOINT_FILE));
    const left = timeLeft(planned, done);
    const remarks = [
      resume && "from its checkpoint",
      retried.has(run) && "once more",
      left !== null && `${formatSeconds(left)} left`,
    ].filter(Boolean);
    shell.note(`run ${i + 1}/${planned.length}: ${title}${remarks.length > 0 ? `  (${remarks.join(", ")})` : ""}`);
    const result = await oneRun(shell, options, run, resume, done.size === 0);
    interrupted = result === null;
    if (!result) break;
    done.set(run, result);
    const { metrics } = result;
    if (metrics) shell.note(`${title}: Rank-1 ${percent(metrics.rank1)}, mAP ${percent(metrics.mAP)}`);
    else shell.warn(`${title} failed: ${result.failed} It is done again only with --retry-failed.`);
    output = await writeTables(options, seeds, planned.length, [...done.values()]);
  }
  if (interrupted) {
    shell.note(`Stopped with ${done.size} of ${planned.length} runs done. The same command goes on.`);
    process.exitCode = 130;
  }
  shell.print(output.markdown);
  shell.print(`tables: ${join(folder, `${NAME}.html`)}, .md and .json`);
  return { adapter: device.profile.name, interrupted, ...output.json, ...(init !== undefined && { init }) };
}

/** @returns null when the user stopped it */
async function oneRun(
  shell: Shell,
  { device, dataset, init }: AblationOptions,
  { variant, seed, config, folder }: Planned,
  resume: boolean,
  talkative: boolean,
): Promise<AblationRun | null> {
  const run = { variant, seed, adapter: device.profile.name };
  // The dataset's table and priors are told once, tables of single runs not at all.
  const quiet: Shell = { ...shell, print: () => {}, note: talkative ? shell.note : () => {} };
  let result: AblationRun;
  try {
    const { interrupted, steps, secondsPerStep, evaluateSeconds, after } = await trainRun(quiet, {
      device,
      dataset,
      config,
      folder,
      resume,
      init: resume ? undefined : init,
      evaluate: true,
      evaluateBefore: false,
      title: `${variantOf(variant).title} on ${dataset.name}, seed ${seed}`,
    });
    if (interrupted || !after) return null;
    const { rerank: _, multiQuery: __, ...metrics } = after; // none was asked for
    result = { ...run, steps, secondsPerStep, evaluateSeconds, metrics, failed: null };
  } catch (error) {
    // Other trouble (a full disk, a missing file) would meet the next run too.
    if (!(error instanceof NotFiniteError)) throw error;
    result = { ...run, steps: 0, secondsPerStep: 0, evaluateSeconds: 0, metrics: null, failed: error.message };
  }
  mkdirSync(folder, { recursive: true });
  await writeAside(join(folder, RESULT_FILE), `${JSON.stringify(result, null, 2)}\n`);
  return result;
}

/** The result of a run that came to an end; a file cut off counts as none, and its run is evaluated again. */
function readResult(folder: string): AblationRun | null {
  const path = join(folder, RESULT_FILE);
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return null;
  }
}

/** Seconds that the other runs take, going by their variant's or else by all finished ones; null before there is one. */
function timeLeft(planned: readonly Planned[], done: ReadonlyMap<Planned, AblationRun>): number | null {
  const ended = [...done.values()].filter(({ metrics }) => metrics);
  if (ended.length === 0) return null;
  const mean = (runs: readonly AblationRun[]) =>
    runs.reduce((sum, run) => sum + run.steps * run.secondsPerStep + run.evaluateSeconds, 0) / runs.length;
  const rest = planned.filter((run) => !done.has(run));
  return rest.reduce((sum, { variant }) => {
    const own = ended.filter((run) => run.variant === variant);
    return sum + mean(own.length > 0 ? own : ended);
  }, 0);
}

async function writeTables(
  { device, dataset, configs, tables, folder }: AblationOptions,
  seeds: readonly number[],
  planned: number,
  runs: readonly AblationRun[],
) {
  const [config] = configs.values();
  const shown = new Set(tables.flatMap(({ rows }) => rows.map(({ variant }) => variant)));
  const { name: adapter, software } = device.profile;
  const data: AblationData = {
    title: `Ablation on ${dataset.name}`,
    adapter: { name: adapter, software },
    configuration: settingsInCommon(config, VARIANT_KEYS),
    dataset: `${dataset.name}: ${dataset.train.length} training, ${dataset.query.length} query and ${dataset.gallery.length} gallery pictures`,
    notes: remarks(dataset),
    seeds,
    planned,
    runs,
    variants: Object.fromEntries([...VARIANTS.values()].map(({ name, title }) => [name, title])),
    tables,
    paper: Object.fromEntries(
      [...VARIANTS.values()].flatMap(({ name, paper }) => (paper ? [[name, { ...paper }]] : [])),
    ),
    databases: DATABASES,
    order: PAPER_ORDER.filter((pair) => pair.every((name) => shown.has(name))),
  };
  const summary = summarizeAblation(data);
  const { dataset: pictures, notes, configuration } = data;
  const json = { dataset: pictures, notes, configuration, seeds, planned, finished: runs.length, ...summary, runs };
  const markdown = ablationMarkdown(data, summary);
  const path = join(folder, NAME);
  await writeAside(`${path}.json`, `${JSON.stringify(json, null, 2)}\n`);
  await writeAside(`${path}.md`, markdown);
  await writePage(`${path}.html`, await renderAblationPage(data, summary));
  return { json, markdown };
}
