/**
 * Images to representations without a pause: while the GPU has one batch, the next one is uploaded behind it and those
 * after that are decoded, so that the slower of GPU and decoder sets the pace. It is told which.
 */
import { BusyClock } from "../data/busy-clock.js";
import type { Sample } from "../data/dataset.js";
import type { RgbImage } from "../data/image.js";
import { type Decoder, imageBatches, type OnUnreadable } from "../data/loader.js";

export interface Extraction {
  /** [images read, dim], row after row. */
  readonly features: Float32Array;
  readonly dim: number;
  /** Place in the list of samples of each row. */
  readonly indices: Int32Array;
  readonly pace: Pace;
}

/** How long a list of images took, and how much of that time each side had work. */
export interface Pace {
  readonly images: number;
  readonly seconds: number;
  /** With a batch submitted whose result was not there yet. */
  readonly gpuSeconds: number;
  /** With an image asked for that was not decoded yet. */
  readonly decoderSeconds: number;
}

/** What represents images, a batch at a time; results of several batches may be on their way. */
export interface Network {
  readonly dim: number;
  /** Images of a batch. */
  readonly batch: number;
  /** @returns [images, dim] */
  ofImages(images: readonly RgbImage[]): Promise<Float32Array>;
}

/** Batches whose results may be on their way while the next one is made ready: the GPU then never waits for the upload. */
const BEHIND = 1;

/** Of lists taken one after the other. */
export function paceOf(parts: readonly Pace[]): Pace {
  const sum = (key: keyof Pace) => parts.reduce((total, part) => total + part[key], 0);
  return {
    images: sum("images"),
    seconds: sum("seconds"),
    gpuSeconds: sum("gpuSeconds"),
    decoderSeconds: sum("decoderSeconds"),
  };
}

/** The side that had work for more of the time: a faster one of the other kind would not help. */
export const boundBy = ({ gpuSeconds, decoderSeconds }: Pace): "GPU" | "decoder" =>
  gpuSeconds >= decoderSeconds ? "GPU" : "decoder";

/**
 * Reads and represents a list of images, in its order. What `onProgress` throws after a batch ends it, once what is on its
 * way has arrived.
 * @throws ImageError on an image that cannot be read, unless `onUnreadable` is given: then it is left out
 */
export async function representSamples(
  samples: readonly Sample[],
  pool: Decoder,
  network: Network,
  onProgress?: (done: number, total: number) => void,
  onUnreadable?: OnUnreadable,
): Promise<Extraction> {
  const { dim, batch } = network;
  const features = new Float32Array(samples.length * dim);
  const indices = new Int32Array(samples.length);
  const [gpu, decoder] = [new BusyClock(), new BusyClock()];
  const timed: Decoder = { decode: (path, place) => decoder.during(pool.decode(path, place)) };
  const behind: Promise<void>[] = [];
  let rows = 0;
  let seen = 0;
  const started = performance.now();
  try {
    const batches = imageBatches({ samples, pool: timed, batchSize: batch, onUnreadable });
    for await (const { images, indices: places } of batches) {
      const at = rows;
      indices.set(places, at);
      rows += places.length;
      const result = gpu.during(network.ofImages(images)).then((values) => {
        features.set(values, at * dim);
        seen = places[places.length - 1] + 1;
        onProgress?.(seen, samples.length);
      });
      result.catch(() => {}); // it is awaited below, but perhaps only after it failed
      behind.push(result);
      if (behind.length > BEHIND) await behind.shift();
    }
    while (behind.length > 0) await behind.shift();
  } finally {
    // What is still on its way must arrive before its memory goes.
    await Promise.allSettled(behind);
  }
  const seconds = (performance.now() - started) / 1000;
  if (seen < samples.length) onProgress?.(samples.length, samples.length);
  return {
    features: features.subarray(0, rows * dim),
    dim,
    indices: indices.subarray(0, rows),
    pace: { images: rows, seconds, gpuSeconds: gpu.seconds, decoderSeconds: decoder.seconds },
  };
}
