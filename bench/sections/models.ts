/** The whole model in this engine and in its peers: same weights, same images, outputs compared. */
import { availableParallelism } from "node:os";
import { milliseconds } from "#src/cli/bench/timing.js";
import { CaseFiles } from "../case-files.js";
import { type CompareOptions, compareCase } from "../compare.js";
import { BOUNDS, type Case, comparison, comparisonTable, fullTitle } from "../comparison.js";
import type { Context } from "../options.js";
import type { Job, Work } from "../peer.js";
import { type SectionReport, type Table, tunedNote } from "../report.js";
import { findSystems, type System, versionOf } from "../systems.js";

/** Of the runs of one system in one case, on a software adapter, where some take minutes each. */
const BUDGET_SECONDS = 100;
const RESTART_WITHIN_SECONDS = 100;
/** Systems with such a batch are not resident together: some take gigabytes. */
const LARGE_BATCH = 32;
/** The budget then. */
const LARGE_BUDGET_SECONDS = 30;
/** Before each run on a GPU. */
const WARM_MS = 200;
/** Cores that a waiting system may use before the report says so. */
const RESTLESS = 0.05;

/** Learning rate and weight decay: of the step that all can do, and those of the paper (Sec. 5.1). */
const HYPER = {
  infer: { lr: 0, momentum: 0, weightDecay: 0 },
  train: { lr: 0.01, momentum: 0.9, weightDecay: 0 },
  step: { lr: 0.001, momentum: 0.9, weightDecay: 5e-4 },
} as const satisfies Record<Work, Pick<Job, "lr" | "momentum" | "weightDecay">>;

const WORK_TITLES: Readonly<Record<Work, string>> = {
  infer: "inference",
  train: "training step that all can do (loss: mean of the squared features)",
  step: "MPN's whole training step (main and auxiliary tasks, all losses)",
};

export async function models(context: Context): Promise<SectionReport> {
  const { size, batches, works, rounds, software, peak, say, limitSeconds, warmCache } = context;
  const { present, absent } = findSystems(context.systems, context.abilities);
  const telling = present.filter(({ gpuBytes }) => gpuBytes !== undefined);
  for (const line of absent) say(line);
  const device = await context.open();
  const files = await CaseFiles.create(device, [`imageSize=[${size}]`, ...context.set]).finally(() => device.close());
  const tables: Table[] = [];
  const restless = new Set<string>();
  const wrong: string[] = [];
  const cases: Case[] = [];
  try {
    for (const work of works) {
      const able = present.filter((system) => system.works.includes(work));
      if (able.length === 0) continue;
      for (const batch of batches[work]) {
        say(`${work}, batch ${batch}`);
        const inputs = await files.inputs(batch);
        const { weights, model } = files;
        const job = { mode: work, batch, weights, inputs, model, threads: availableParallelism(), ...HYPER[work] };
        const large = batch >= LARGE_BATCH;
        const budgetSeconds = !software ? Number.POSITIVE_INFINITY : large ? LARGE_BUDGET_SECONDS : BUDGET_SECONDS;
        const options: CompareOptions = {
          rounds,
          budgetSeconds,
          limitSeconds,
          warmCache,
          warmMs: software ? 0 : WARM_MS,
          starts: context.starts,
          restartWithinSeconds: software && large ? 0 : RESTART_WITHIN_SECONDS,
          say,
        };
        const outcomes = [];
        for (const together of large ? able.map((system) => [system]) : [able]) {
          const measured = await compareCase(together.map(withVersion), job, options);
          // An interrupted report leaves at least this.
          for (const outcome of measured)
            if (!("failed" in outcome))
              say(
                `${outcome.title}: ${milliseconds(outcome.times.medianMs)} ms, first start ${milliseconds(outcome.firstStartMs)} ms`,
              );
          outcomes.push(...measured);
        }
        const rows = comparison(outcomes, batch, peak.gflops);
        for (const row of rows) {
          if ("failed" in row) continue;
          if (row.wrong) {
            const { error, bound } = row;
            const fault = error === null ? "gives no numbers" : `is off by ${error}, more than ${bound}`;
            wrong.push(`WRONG: ${fullTitle(row)} ${fault} (${work}, batch ${batch}).`);
          }
          if ((row.idleCores ?? 0) <= RESTLESS) continue;
          restless.add(
            `${row.title} kept ${row.idleCores!.toFixed(2)} cores busy while others ran (${work}, batch ${batch}).`,
          );
        }
        cases.push({ work, batch, rows });
        tables.push(comparisonTable(`${WORK_TITLES[work]}, batch ${batch}`, rows));
      }
    }
  } finally {
    files.remove();
  }
  return {
    title: `MPN without channel attention, images of ${size.join("x")}, float32 unless told otherwise${context.set.map((setting) => `, ${setting}`).join("")}`,
    notes: [
      ...wrong,
      tunedNote(context.tuned),
      `A process for each system and case; after a first run of each, rounds of one run each in turn${software ? "" : `, each after ${WARM_MS} ms of such runs that are not counted`}. First start: from the process's start to its first result${warmCache ? "" : ", no shader compiled before"}; second start: the same of a new process that finds the first one's shaders, of all systems in turn; both in the median of as many as are in brackets (${context.starts}; fewer where first ones would take more than 21 s).`,
      `With batches of ${LARGE_BATCH} and more one system after another instead of in turns, so that they are not in memory together${software ? "; started once" : ""}.`,
      `Of peak: the floating point operations that this engine counts, over the median time, as a share of ${peak.gflops.toFixed(1)} GFLOP/s. Relative error: the greatest difference over the greatest value, against the first row; of training, the loss before any update, and after the last one that both made, where rounding has been amplified, by batch norm over few images above all.`,
      `An error is wrong that is more than ${boundsText("float32")}; of systems that compute some of it in float16, ${boundsText("float16")}.`,
      `GPU buffers. ${telling.map(({ title, gpuBytes }) => `${title}: ${gpuBytes}`).join("; ")}; others tell nothing. All but ONNX Runtime, which uploads the images in every run, keep them on the device.`,
      "On WebGPU the peers get Dawn as it is by default; this engine, whose kernels check their own bounds, turns the index clamps off (`--systems mpn-webgpu,mpn-webgpu-clamps` shows what they cost it).",
      ...(software
        ? [
            `Fewer runs where more than ${BUDGET_SECONDS} s of them (${LARGE_BUDGET_SECONDS} s with batches of ${LARGE_BATCH} and more) would be needed, at least one, and never the first; no second start where the first took more than ${RESTART_WITHIN_SECONDS} s.`,
          ]
        : []),
      ...restless,
      ...absent.map((line) => `Not measured: ${line}`),
    ],
    tables,
    wrong,
    data: { size, threads: availableParallelism(), absent, cases },
  };
}

function boundsText(arithmetic: keyof typeof BOUNDS): string {
  const { features, loss } = BOUNDS[arithmetic];
  return `${features.toExponential(0)} (features) or ${loss.toExponential(0)} (the loss before any update)`;
}

function withVersion(system: System): System {
  const version = versionOf(system);
  return version === undefined ? system : { ...system, title: `${system.title} ${version}` };
}
