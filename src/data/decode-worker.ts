/** The program of a DecodePool worker: a path (and place) comes in, the picture or the reason why there is none goes out. */
import { parentPort, workerData } from "node:worker_threads";
import sharp from "sharp";
import { type DecodeOptions, decodeImage, ImageError, type RgbImage } from "./image.js";

export interface DecodeRequest {
  path: string;
  place?: string;
}
export type DecodeReply = { image: RgbImage } | { unreadable: string };

const port = parentPort!;
// The pool decodes as many pictures at once as it has workers; libvips' own threads and cache would only compete.
sharp.concurrency(1);
sharp.cache(false);

port.on("message", async ({ path, place }: DecodeRequest) => {
  try {
    const image = await decodeImage(path, { ...(workerData as DecodeOptions), place });
    port.postMessage({ image } satisfies DecodeReply, [image.data.buffer]);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    port.postMessage({ unreadable: error.reason } satisfies DecodeReply);
  }
});
