import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { type Camera, createCamera } from "./camera.js";
import type { SynthOptions } from "./options.js";
import type { Job } from "./plan.js";
import { takePicture } from "./render.js";
import { createScene, type Scene } from "./scene.js";

/** Pictures that are being encoded and written while the next ones are drawn. */
const IN_FLIGHT = 8;

/** Draws the pictures of the jobs and writes them, with their maps, below `root`, whose folders exist. */
export async function produce(
  root: string,
  options: SynthOptions,
  jobs: readonly Job[],
  onDone: () => void,
): Promise<void> {
  const { seed } = options;
  const cameras: Camera[] = Array.from({ length: options.cameras }, (_, index) => createCamera(seed, index));
  const scenes: Scene[] = await Promise.all(cameras.map(({ scene }, index) => createScene(seed, index, scene)));
  for (let start = 0; start < jobs.length; start += IN_FLIGHT) {
    await Promise.all(
      jobs.slice(start, start + IN_FLIGHT).map(async (job) => {
        const camera = cameras[job.shot.camera];
        const { height, width, rgb, parsing, segmentation } = takePicture(
          options,
          job.shot,
          camera,
          scenes[job.shot.camera],
        );
        const raw = (channels: 1 | 3) => ({ raw: { width, height, channels } });
        const picture = sharp(rgb, raw(3));
        const [encoded, extension] =
          options.format === "png"
            ? [picture.png(), "png"]
            : [picture.jpeg({ quality: options.quality - camera.compression }), "jpg"];
        const files = [{ path: join(job.folder, `${job.stem}.${extension}`), encoded }];
        if (job.maps) {
          for (const [folder, map] of Object.entries({ parsing, segmentation })) {
            files.push({
              path: join(folder, `${job.stem}.png`),
              encoded: sharp(map, raw(1)).toColourspace("b-w").png(),
            });
          }
        }
        await Promise.all(
          files.map(async ({ path, encoded }) => writeFile(join(root, path), await encoded.toBuffer())),
        );
        onDone();
      }),
    );
  }
}
