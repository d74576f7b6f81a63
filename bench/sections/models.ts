/** The whole model in this engine and in its peers: same weights, same images, outputs compared. */
import { availableParallelism } from "node:os";
import { mebibytes, milliseconds, type Times } from "#src/cli/bench/timing.js";
import { Device } from "#src/gpu/device.js";
import { percent } from "#src/text.js";
import { CaseFiles } from "../case-files.js";
import { compareCase, type Failure, type Outcome, relativeError } from "../compare.js";
import type { Context } from "../options.js";
import type { Job, Work } from "../peer.js";
import type { SectionReport, Table } from "../report.js";
import { findSystems, OURS, type System, versionOf } from "../systems.js";

/** Of the runs of one system in one case, on a software adapter, where some take minutes each. */
const BUDGET_SECONDS = 100;
const SECOND_START_WITHIN_SECONDS = 100;
/** Cores that a waiting system may use before the report says so. */
const RESTLESS = 0.05;

/** Learning rate and weight decay: of the step that all can do, and those of the paper (Sec. 4). */
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

/** A row of the comparison, for JSON. */
export interface Row extends Omit<Outcome, "features" | "times">, Times {
  readonly msPerImage: number;
  readonly gflops: number | null;
  readonly peakShare: number | null;
  /** Median time over this engine's. */
  readonly toOurs: number | null;
  /** Relative error against the first system of the case: of the features, or of the loss before any update. */
  readonly error: number | null;
  /** The same of the losses of every step that both did. */
  readonly lossErrors?: readonly number[];
}

/** What the outcomes of a case mean beside each other. */
export function comparison(outcomes: readonly (Outcome | Failure)[], batch: number, peakGflops: number) {
  const done = outcomes.filter((o): o is Outcome => !("failed" in o));
  const reference = done[0];
  const ours = done.find(({ system }) => system === OURS);
  return outcomes.map((outcome): Row | Failure => {
    if ("failed" in outcome) return outcome;
    const { features, times, ...rest } = outcome;
    const gflops = ours?.flops ? ours.flops / times.medianMs / 1e6 : null;
    // Up to the last step that both did.
    const errors = rest.losses
      .slice(0, reference.losses.length)
      .map((loss, i) => Math.abs(loss - reference.losses[i]) / Math.abs(reference.losses[i]));
    const error = features ? reference.features && relativeError(features, reference.features) : errors[0];
    return {
      ...rest,
      ...times,
      msPerImage: times.medianMs / batch,
      gflops,
      peakShare: gflops && gflops / peakGflops,
      toOurs: ours ? times.medianMs / ours.times.medianMs : null,
      error: outcome === reference ? null : error,
      ...(!features && { lossErrors: errors }),
    };
  });
}

/** The comparison of one case as a table. */
export function comparisonTable(title: string, rows: readonly (Row | Failure)[]): Table {
  const seconds = (ms: number | null) => (ms === null ? "-" : (ms / 1000).toFixed(ms < 10_000 ? 2 : 1));
  const bytes = (count: number | null) => (count === null ? "-" : mebibytes(count));
  const head = [
    ...["", "first start s", "second", "first run s", "median ms", "min", "max", "runs", "CPU ms", "ms/image"],
    ...["to ours", "of peak", "relative error", "resident", "GPU buffers"],
  ];
  const lines = rows.map((row) => {
    if ("failed" in row) return [row.title, `failed: ${row.failed}`, ...Array(head.length - 2).fill("")];
    const [error, ...later] = (row.lossErrors ?? [row.error ?? 0]).map((e) => e.toExponential(1));
    const after = later.length > 0 ? `, ${later.at(-1)} after ${later.length}` : "";
    return [
      row.version ? `${row.title} ${row.version}` : row.title,
      ...[row.firstStartMs, row.secondStartMs, row.firstRunMs].map(seconds),
      ...[row.medianMs, row.minMs, row.maxMs].map(milliseconds),
      String(row.runs),
      row.cpuMs === null ? "-" : milliseconds(row.cpuMs),
      milliseconds(row.msPerImage),
      row.toOurs === null ? "-" : `${row.toOurs.toPrecision(3)} x`,
      row.peakShare === null ? "-" : percent(row.peakShare),
      row.error === null ? "reference" : error + after,
      bytes(row.peakBytes),
      bytes(row.gpuBytes),
    ];
  });
  return { title, rows: [head, ...lines] };
}

export async function models(context: Context): Promise<SectionReport> {
  const { size, batches, works, rounds, software, peak, say, limitSeconds, warmCache } = context;
  const { present, absent } = findSystems(context.systems);
  for (const line of absent) say(line);
  const device = await Device.open();
  const files = await CaseFiles.create(device, [`imageSize=[${size}]`]).finally(() => device.close());
  const tables: Table[] = [];
  const restless = new Set<string>();
  const cases: { work: Work; batch: number; rows: (Row | Failure)[] }[] = [];
  try {
    for (const work of works) {
      const able = present.filter((system) => system.works.includes(work));
      if (able.length === 0) continue;
      for (const batch of batches[work]) {
        say(`${work}, batch ${batch}`);
        const inputs = await files.inputs(batch);
        const { weights, model } = files;
        const job = { mode: work, batch, weights, inputs, model, threads: availableParallelism(), ...HYPER[work] };
        const outcomes = await compareCase(able.map(withVersion), job, {
          rounds,
          budgetSeconds: software ? BUDGET_SECONDS : Number.POSITIVE_INFINITY,
          limitSeconds,
          warmCache,
          secondStartWithinSeconds: SECOND_START_WITHIN_SECONDS,
          say,
        });
        const rows = comparison(outcomes, batch, peak.gflops);
        for (const row of rows) {
          if ("failed" in row) continue;
          // An interrupted report leaves at least this.
          say(`${row.title}: ${milliseconds(row.medianMs)} ms, first start ${milliseconds(row.firstStartMs)} ms`);
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
    title: `MPN without channel attention, images of ${size.join("x")}, float32`,
    notes: [
      `A process for each system and case; after a first run of each, rounds of one run each in turn. First start: from the process's start to its first result${warmCache ? "" : ", no shader compiled before"}; second start: the same of a new process that finds the first one's shaders, the median of three where the first start took less than 7 s.`,
      `Of peak: the floating point operations that this engine counts, over the median time, as a share of ${peak.gflops.toFixed(1)} GFLOP/s. Relative error: the greatest difference over the greatest value, against the first row; of training, the loss before any update, and after the last one that both made, where rounding has been amplified, by batch norm over few images above all.`,
      "On WebGPU the peers get Dawn as it is by default; this engine, whose kernels check their own bounds, turns the index clamps off.",
      ...(software
        ? [
            `Fewer runs where more than ${BUDGET_SECONDS} s of them would be needed, at least one; no second start where the first took more than ${SECOND_START_WITHIN_SECONDS} s.`,
          ]
        : []),
      ...restless,
      ...absent.map((line) => `Not measured: ${line}`),
    ],
    tables,
    data: { size, threads: availableParallelism(), absent, cases },
  };
}

function withVersion(system: System): System {
  const version = versionOf(system);
  return version === undefined ? system : { ...system, title: `${system.title} ${version}` };
}
