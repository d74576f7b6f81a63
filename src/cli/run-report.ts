/** The report of a run, from what the run knows. */
import { join } from "node:path";
import sharp from "sharp";
import type { Dataset, datasetTable, Sample } from "../data/dataset.js";
import { decodeImage } from "../data/image.js";
import type { DetectorErrors } from "../data/perturb.js";
import type { Device } from "../gpu/device.js";
import type { RankedListData, Timing } from "../report/data.js";
import { writeReport } from "../report/report.js";
import type { DatasetEvaluation } from "../retrieval/evaluate.js";
import type { RankingResult } from "../retrieval/metrics.js";
import { rankedList } from "../retrieval/ranked-list.js";
import { percent } from "../text.js";
import type { TrainConfig } from "../training/config.js";
import type { MetricsRow } from "../training/metrics-log.js";
import { REPORT_FILE } from "./run-folder.js";

/** Images of a ranked list. */
const TOP = 10;

interface ShownQueries {
  readonly count: number;
  /** Those of least average precision, the least one first; by default they are spread evenly over the query set. */
  readonly worst?: boolean;
  /** Detector errors, so that the pictures are shown as the network saw them. */
  readonly perturb?: DetectorErrors;
}

/** Ranked lists of some queries. */
export async function rankedLists(
  dataset: Dataset,
  evaluation: DatasetEvaluation,
  { count, worst = false, perturb }: ShownQueries,
): Promise<RankedListData[]> {
  const { query, gallery, ranking, result } = evaluation;
  const shown = async (sample: Sample) => ({
    image: perturb ? await asSeen(sample, perturb) : sample.path,
    label: sample.name,
  });
  const total = query.indices.length;
  const length = Math.min(count, total);
  const spread = Array.from({ length }, (_, i): [row: number, precision?: number] => [
    Math.floor((i * total) / length),
  ]);
  const rising = [...result.averagePrecisions].sort(([, a], [, b]) => a - b);
  const lists: RankedListData[] = [];
  for (const [row, precision] of worst ? rising.slice(0, count) : spread) {
    const sample = dataset.query[query.indices[row]];
    const matches = await rankedList(ranking, row, TOP);
    lists.push({
      ...(precision !== undefined && { caption: `average precision ${percent(precision, " %")}` }),
      query: await shown(sample),
      matches: await Promise.all(
        matches.map(async ({ index, similarity, right }) => {
          return { ...(await shown(dataset.gallery[gallery.indices[index]])), similarity, right };
        }),
      ),
    });
  }
  return lists;
}

/** An encoded picture with its detector error. */
async function asSeen({ path, place }: Sample, perturb: DetectorErrors): Promise<Uint8Array> {
  const { width, height, data } = await decodeImage(path, { perturb, place });
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

export interface RunReport {
  readonly folder: string;
  readonly title: string;
  readonly device: Device;
  readonly config: TrainConfig;
  readonly dataset: { readonly name: string; readonly rows: ReturnType<typeof datasetTable> };
  readonly evaluations: readonly { label: string; result: RankingResult; aside?: boolean }[];
  readonly notes: readonly string[];
  readonly otherDatasets: readonly { label: string; result: RankingResult; notes: readonly string[] }[];
  readonly metrics: readonly MetricsRow[];
  readonly rankedLists: readonly RankedListData[];
  readonly timings: readonly Timing[];
}

/** @returns the page's path */
export async function writeRunReport(run: RunReport): Promise<string> {
  const path = join(run.folder, REPORT_FILE);
  await writeReport(path, {
    title: run.title,
    adapter: { name: run.device.profile.name, software: run.device.profile.software },
    configuration: run.config,
    dataset: {
      name: run.dataset.name,
      subsets: run.dataset.rows.map(({ subset, ids, images, cameras }) => ({ subset, people: ids, images, cameras })),
    },
    evaluations: run.evaluations.map(({ result, ...named }) => ({ ...named, ...result })),
    notes: run.notes,
    otherDatasets: run.otherDatasets.map(({ label, result, notes }) => ({ label, notes, ...result })),
    metrics: run.metrics,
    rankedLists: [...run.rankedLists],
    timings: [...run.timings],
  });
  return path;
}
