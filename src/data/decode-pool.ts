/** Decoding in worker threads, so that pictures are ready before the GPU asks for them. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { DecodeReply, DecodeRequest } from "./decode-worker.js";
// This import also loads sharp in the main thread, which sharp needs: its libraries must outlive every worker.
import { type DecodeOptions, ImageError, type RgbImage } from "./image.js";

export interface DecodePoolOptions extends Omit<DecodeOptions, "place"> {
  /** Threads at most; by default one less than the machine has cores, and at least one. */
  workers?: number;
  /** The workers' program. */
  script?: URL;
}

interface Job extends DecodeRequest {
  resolve(image: RgbImage): void;
  reject(error: Error): void;
}

const WORKER_SCRIPT = new URL("./decode-worker.js", import.meta.url);

/**
 * A pool of decoding threads, started as jobs come. An idle pool does not keep the process alive; `close` ends it early.
 * A thread that dies rejects only the job it had.
 */
export class DecodePool {
  readonly workers: number;
  readonly #options: DecodeOptions;
  readonly #script: URL;
  readonly #queue: Job[] = [];
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Job>();
  #closed: Promise<void> | null = null;
  #onQuiet: (() => void) | null = null;

  constructor({ workers, script = WORKER_SCRIPT, ...options }: DecodePoolOptions = {}) {
    this.workers = workers ?? Math.max(1, availableParallelism() - 1);
    this.#options = options;
    this.#script = script;
  }

  /**
   * Decodes one file; jobs start in the order of the calls.
   *
   * @param place the picture's path within its dataset, see `DecodeOptions`
   * @throws ImageError naming the file, from the returned promise; Error when the pool is closed or the thread died
   */
  decode(path: string, place?: string): Promise<RgbImage> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error(`cannot decode ${path}: the decode pool is closed`));
      this.#queue.push({ path, place, resolve, reject });
      this.#assign();
    });
  }

  /** Rejects the jobs that wait, lets those that run come to their end, and ends the threads. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    for (const { path, reject } of this.#queue.splice(0)) {
      reject(new Error(`${path} was not decoded: the decode pool was closed`));
    }
    // A thread that is ended amid a native call may bring the process down with it.
    if (this.#busy.size > 0) await new Promise<void>((resolve) => (this.#onQuiet = resolve));
    for (const worker of this.#idle) worker.ref(); // who awaits the end must see it
    await Promise.all(this.#idle.map((worker) => worker.terminate()));
  }

  #assign(): void {
    while (this.#queue.length > 0 && this.#busy.size < this.workers) {
      const worker = this.#idle.pop() ?? this.#start();
      const job = this.#queue.shift()!;
      this.#busy.set(worker, job);
      worker.ref();
      worker.postMessage({ path: job.path, place: job.place } satisfies DecodeRequest);
    }
    if (this.#busy.size === 0) this.#onQuiet?.();
  }

  #start(): Worker {
    const worker = new Worker(this.#script, { workerData: this.#options, execArgv: [] });
    let failure: unknown;
    worker.on("message", (reply: DecodeReply) => this.#finish(worker, reply));
    worker.on("error", (error) => (failure = error));
    worker.on("exit", (code) => this.#bury(worker, failure ?? new Error(`exit code ${code}`)));
    return worker;
  }

  #finish(worker: Worker, reply: DecodeReply): void {
    const job = this.#busy.get(worker)!;
    this.#busy.delete(worker);
    this.#idle.push(worker);
    worker.unref();
    if ("image" in reply) job.resolve(reply.image);
    else job.reject(new ImageError(job.path, reply.unreadable));
    this.#assign();
  }

  #bury(worker: Worker, cause: unknown): void {
    const job = this.#busy.get(worker);
    this.#busy.delete(worker);
    const place = this.#idle.indexOf(worker);
    if (place >= 0) this.#idle.splice(place, 1);
    job?.reject(new Error(`the thread that decoded ${job.path} died: ${(cause as Error).message}`, { cause }));
    this.#assign();
  }
}
