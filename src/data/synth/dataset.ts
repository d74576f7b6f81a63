import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { UserError } from "../../errors.js";
import { resolveOptions, type SynthOptions } from "./options.js";
import { type Job, planDataset } from "./plan.js";
import type { Assignment } from "./worker.js";

export type { SynthOptions } from "./options.js";

interface Subset {
  people: number;
  images: number;
  cameras: number;
}

export interface SynthSummary {
  dir: string;
  options: SynthOptions;
  train: Subset;
  query: Subset;
  /** `people` and `images` leave out the pictures counted in `distractors` (id 0000) and `junk` (id -1). */
  gallery: Subset & { distractors: number; junk: number };
  seconds: number;
}

/** Lies in every synthetic dataset: says what made it, and marks the folder as one that may be replaced. */
const NOTE = "synthetic.json";
const TOOL = "mpn synth";
/** Raised when the same options begin to give other pictures. */
const REVISION = 1;
const JOBS_PER_WORKER = 24;
const MOST_WORKERS = 8;

/**
 * Writes a dataset of drawn people in Market-1501's layout: `bounding_box_train/`, `query/`, `bounding_box_test/` and,
 * for the training pictures, `parsing/` (LIP label indices) and `segmentation/` (0 and 255), greyscale PNG of the
 * picture's size and name. Neck and bags are left out of the parsing map, as parsing tools do, and belong to the
 * segmentation. The dataset appears under `dir` when it is whole; until then it grows in `<dir>.partial`. A synthetic
 * dataset in `dir` is replaced; any other folder with something in it is refused.
 *
 * Equal options give equal files on one version of Node and sharp. Throws a `UserError` for options out of range, a
 * folder that is not free, and files that cannot be written.
 */
export async function writeSyntheticDataset(
  dir: string,
  options: Partial<SynthOptions> = {},
  onProgress: (done: number, total: number) => void = () => {},
): Promise<SynthSummary> {
  const start = performance.now();
  const resolved = resolveOptions(options);
  const target = resolve(dir);
  const partial = `${target}.partial`;
  const replaced = `${target}.replaced`;
  const jobs = planDataset(resolved);
  const counts = count(jobs);
  try {
    for (const folder of [target, partial, replaced]) await assertReplaceable(folder);
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const note = { tool: TOOL, revision: REVISION, options: resolved, ...counts };
    await writeFile(join(partial, NOTE), `${JSON.stringify(note, null, 2)}\n`);
    const folders = [
      "bounding_box_train",
      "query",
      "bounding_box_test",
      ...(resolved.maps ? ["parsing", "segmentation"] : []),
    ];
    for (const folder of folders) await mkdir(join(partial, folder));
    try {
      await produceInWorkers(partial, resolved, jobs, onProgress);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
    await rm(replaced, { recursive: true, force: true });
    if (await exists(target)) await rename(target, replaced);
    await rename(partial, target);
    await rm(replaced, { recursive: true, force: true });
  } catch (error) {
    throw explain(error, target);
  }
  return { dir: target, options: resolved, ...counts, seconds: (performance.now() - start) / 1000 };
}

/** The options of the synthetic dataset in `dir`; undefined where there is none or it would come out differently now. */
export async function readSyntheticOptions(dir: string): Promise<SynthOptions | undefined> {
  const note = await readNote(dir);
  return note?.revision === REVISION ? note.options : undefined;
}

interface Note {
  tool: string;
  revision: number;
  options: SynthOptions;
}

async function readNote(dir: string): Promise<Note | undefined> {
  try {
    const note = JSON.parse(await readFile(join(dir, NOTE), "utf8")) as Note;
    return note.tool === TOOL ? note : undefined;
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function assertReplaceable(dir: string): Promise<void> {
  if (!(await exists(dir)) || (await readdir(dir)).length === 0 || (await readNote(dir))) return;
  throw new UserError(
    `The folder ${dir} holds something else than a synthetic dataset (no ${NOTE} of ${TOOL}), so it is left alone. ` +
      "Give an empty or a new folder.",
  );
}

/** Shares the jobs out among threads; equal files come out however many there are. */
async function produceInWorkers(
  root: string,
  options: SynthOptions,
  jobs: readonly Job[],
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const threads = Math.max(1, Math.min(availableParallelism(), MOST_WORKERS, Math.ceil(jobs.length / JOBS_PER_WORKER)));
  const workers: Worker[] = [];
  let done = 0;
  const running = Array.from({ length: threads }, (_, thread) => {
    const assignment: Assignment = { root, options, jobs: jobs.filter((_, index) => index % threads === thread) };
    // Flags that the program was started with (loaders, --input-type) do not concern a thread that runs built code.
    const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: assignment, execArgv: [] });
    workers.push(worker);
    return new Promise<void>((finish, fail) => {
      worker.on("message", () => onProgress(++done, jobs.length));
      worker.on("error", fail);
      worker.on("exit", (code) =>
        code === 0 ? finish() : fail(new Error(`a drawing thread ended with code ${code}`)),
      );
    });
  });
  try {
    await Promise.all(running);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function count(jobs: readonly Job[]): Pick<SynthSummary, "train" | "query" | "gallery"> {
  const subset = (folder: Job["folder"]) => {
    const inside = jobs.filter((job) => job.folder === folder);
    const known = inside.filter((job) => !/^(0000|-1)_/.test(job.stem));
    return {
      people: new Set(known.map((job) => job.shot.person)).size,
      images: known.length,
      cameras: new Set(inside.map((job) => job.shot.camera)).size,
      distractors: inside.filter((job) => job.stem.startsWith("0000_")).length,
      junk: inside.filter((job) => job.stem.startsWith("-1_")).length,
    };
  };
  const plain = ({ people, images, cameras }: Subset): Subset => ({ people, images, cameras });
  return {
    train: plain(subset("bounding_box_train")),
    query: plain(subset("query")),
    gallery: subset("bounding_box_test"),
  };
}

/** File system failures become errors that name the folder and the remedy; all others stay what they are. */
function explain(error: unknown, dir: string): unknown {
  const remedies: Record<string, string> = {
    ENOSPC: "the disk is full; free some space or give a folder on another disk",
    EACCES: "no permission to write there; give a folder of your own",
    EPERM: "no permission to write there; give a folder of your own",
    EROFS: "the disk is read-only; give another folder",
    ENOTDIR: "a part of that path is a file; give another folder",
    EBUSY: "the folder is in use and cannot be replaced; give another folder",
  };
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (error instanceof UserError || !(code in remedies)) return error;
  return new UserError(`Could not write the synthetic dataset ${dir}: ${remedies[code]} (${code}).`, { cause: error });
}
