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
import type { TrainConfig } from "../training/config.js";
import type { MetricsRow } from "../training/metrics-log.js";
import { REPORT_FILE } from "./run-folder.js";

/**
 * Ranked lists of `count` queries spread evenly over the query set.
 * @param perturb detector errors, so that the pictures are shown as the network saw them
 */
export async function rankedLists(
  dataset: Dataset,
  evaluation: DatasetEvaluation,
  count: number,
  perturb?: DetectorErrors,
  topK = 10,
): Promise<RankedListData[]> {
  const { query, gallery, ranking } = evaluation;
  const shown = async (sample: Sample) => ({
    image: perturb ? await asSeen(sample, perturb) : sample.path,
    label: sample.name,
  });
  const total = query.indices.length;
  const lists: RankedListData[] = [];
  for (let i = 0; i < Math.min(count, total); i++) {
    const row = Math.floor((i * total) / Math.min(count, total));
    const sample = dataset.query[query.indices[row]];
    const matches = await rankedList(ranking, row, topK);
    lists.push({
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
    metrics: run.metrics.filter((row) => row.loss !== undefined),
    rankedLists: [...run.rankedLists],
    timings: [...run.timings],
  });
  return path;
}
