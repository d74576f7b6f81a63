import { parentPort, workerData } from "node:worker_threads";
import type { SynthOptions } from "./options.js";
import type { Job } from "./plan.js";
import { produce } from "./produce.js";

/** What a worker thread is started with; it answers with one message for each picture written. */
export interface Assignment {
  root: string;
  options: SynthOptions;
  jobs: Job[];
}

const { root, options, jobs } = workerData as Assignment;
await produce(root, options, jobs, () => parentPort?.postMessage("done"));
