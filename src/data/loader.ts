/** Batches of decoded pictures, read ahead of the GPU. */
import { UserError } from "../errors.js";
import type { Sample } from "./dataset.js";
import type { DecodePool } from "./decode-pool.js";
import { ImageError, type RgbImage } from "./image.js";
import type { PkSampler, PkSamplerState } from "./sampler.js";

/** Told once of each image that cannot be read. */
export type OnUnreadable = (sample: Sample, error: ImageError) => void;

export interface ImageBatch {
  /** Places of the images in the list of samples. */
  indices: number[];
  images: RgbImage[];
}

export interface TrainBatch extends ImageBatch {
  /** Number of the batch, from 0; goes on after a resume. */
  number: number;
  /** State of the sampler after this batch: what a checkpoint keeps. The sampler itself is ahead by then. */
  next: PkSamplerState;
}

/** Who decodes; a `DecodePool` is one. */
export type Decoder = Pick<DecodePool, "decode">;

interface LoaderOptions {
  samples: readonly Sample[];
  pool: Decoder;
  /** Batches decoded ahead of the one that was handed out. */
  depth?: number;
  onUnreadable?: OnUnreadable;
}

const DEFAULT_DEPTH = 2;

/**
 * Endless training batches. An image that cannot be read is replaced by the next readable one of the same person, which
 * depends on the files only: a run stays repeatable.
 *
 * @throws UserError when no image of a person can be read
 */
export function trainBatches(options: LoaderOptions & { sampler: PkSampler }): AsyncGenerator<TrainBatch, void> {
  const { samples, pool, sampler, depth = DEFAULT_DEPTH, onUnreadable } = options;
  const unreadable = new Set<number>();

  async function decodeOrReplace(index: number): Promise<[number, RgbImage]> {
    const candidates = sampler.standIns(index);
    for (const candidate of candidates) {
      if (unreadable.has(candidate)) continue;
      try {
        return [candidate, await pool.decode(samples[candidate].path, samples[candidate].place)];
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        if (!unreadable.has(candidate)) onUnreadable?.(samples[candidate], error);
        unreadable.add(candidate);
      }
    }
    const { pid, path } = samples[index];
    throw new UserError(
      `None of the ${candidates.length} training images of person ${pid} can be read, ${path} among them. ` +
        "Replace them, or remove them so that the person is left out.",
    );
  }

  function* tasks() {
    for (;;) {
      const number = sampler.batches;
      const drawn = sampler.next();
      const next = sampler.getState();
      yield async (): Promise<TrainBatch> => {
        const decoded = await Promise.all(drawn.map(decodeOrReplace));
        return { number, next, indices: decoded.map(([index]) => index), images: decoded.map(([, image]) => image) };
      };
    }
  }
  return prefetch(tasks(), depth);
}

/**
 * The images of a list in order, `batchSize` at a time. Images that cannot be read are left out when `onUnreadable` is
 * given, so that a batch may be smaller.
 *
 * @throws ImageError on an image that cannot be read, without `onUnreadable`
 */
export async function* imageBatches(options: LoaderOptions & { batchSize: number }): AsyncGenerator<ImageBatch, void> {
  const { samples, pool, batchSize, depth = DEFAULT_DEPTH, onUnreadable } = options;

  async function decodeOrSkip(index: number): Promise<[number, RgbImage][]> {
    try {
      return [[index, await pool.decode(samples[index].path, samples[index].place)]];
    } catch (error) {
      if (!(error instanceof ImageError) || !onUnreadable) throw error;
      onUnreadable(samples[index], error);
      return [];
    }
  }

  function* tasks() {
    for (let start = 0; start < samples.length; start += batchSize) {
      const wanted = Array.from({ length: Math.min(batchSize, samples.length - start) }, (_, i) => start + i);
      yield async (): Promise<ImageBatch> => {
        const decoded = (await Promise.all(wanted.map(decodeOrSkip))).flat();
        return { indices: decoded.map(([index]) => index), images: decoded.map(([, image]) => image) };
      };
    }
  }
  for await (const batch of prefetch(tasks(), depth)) {
    if (batch.images.length > 0) yield batch;
  }
}

/**
 * Results of tasks in their order, with up to `depth` of them under way while the consumer works on one. A failure
 * surfaces when its turn comes.
 */
async function* prefetch<T>(tasks: Iterable<() => Promise<T>>, depth: number): AsyncGenerator<T, void> {
  const source = tasks[Symbol.iterator]();
  const ahead: Promise<T>[] = [];
  const fill = (length: number) => {
    while (ahead.length < length) {
      const { done, value: task } = source.next();
      if (done) return;
      const result = task();
      result.catch(() => {}); // it is awaited below, but perhaps only after it failed
      ahead.push(result);
    }
  };
  for (fill(depth + 1); ahead.length > 0; ) {
    const result = await ahead.shift()!;
    fill(depth);
    yield result;
  }
}
