import { basename, relative } from "node:path";
import type { Command } from "commander";
import { UserError } from "../errors.js";
import type { Precision } from "../graph/storage.js";
import { rowLengths } from "../retrieval/similarity.js";
import { findImages } from "./find-images.js";
import { addFlipOptions, matrixUnitsOption, precisionOption } from "./network-options.js";
import { checkOutput } from "./outputs.js";
import { run } from "./shell.js";

interface ExtractOptions {
  weights?: string;
  out: string;
  flip?: boolean;
  normalize: boolean;
  precision?: Precision;
  matrixUnits?: boolean;
}

/** `mpn extract`: images to representations. */
export function register(program: Command): void {
  addFlipOptions(program.command("extract"))
    .description("representations (eq. 2) of images, as one safetensors file")
    .argument("<images...>", "image files, or folders that are searched for images")
    .option("--weights <checkpoint>", "the network; by default the small one that ships")
    .option(
      "--out <file>",
      "file to write: features [N, dim], and the images' names in its metadata",
      "features.safetensors",
    )
    .option("--no-normalize", "leave the vectors as they are instead of scaling them to unit length")
    .addOption(precisionOption())
    .addOption(matrixUnitsOption())
    .action(
      run(async (shell, places: string[], options: ExtractOptions) => {
        await checkOutput("--out", options.out, "features", [options.weights]);
        const samples = (await findImages(places)).map((path) => ({ path, name: basename(path), pid: 0, camid: 0 }));
        const { countUnreadable, loadNetwork, openDevice, paceFields, paceText } = await import("./common.js");
        const { writeSafetensors } = await import("../formats/safetensors.js");
        const device = await openDevice(shell, { matrixUnits: options.matrixUnits });
        try {
          const network = await loadNetwork(shell, device, options.weights, options.flip, 0, options.precision);
          const unreadable = countUnreadable(shell);
          const { features, dim, indices, pace } = await network.extractor.ofSamples(
            samples,
            network.pool,
            shell.onProgress("extracting"),
            unreadable.onUnreadable,
          );
          await network.close();
          if (indices.length === 0)
            throw new UserError(`None of the ${samples.length} images could be read; nothing was written.`);
          if (options.normalize) {
            const lengths = rowLengths(features, dim, "extracted");
            for (let i = 0; i < features.length; i++) features[i] /= lengths[Math.floor(i / dim)];
          }
          const names = Array.from(indices, (i) => relative(process.cwd(), samples[i].path));
          await writeSafetensors(
            options.out,
            [["features", { dtype: "F32", shape: [indices.length, dim], data: features }]],
            {
              names: JSON.stringify(names),
              weights: network.checkpoint.path,
              flip: String(network.flip),
              normalized: String(options.normalize),
            },
          );
          shell.print(
            `${indices.length} images, ${dim} values each, in ${pace.seconds.toFixed(1)} s (${paceText(pace)}): ${options.out}`,
          );
          return {
            adapter: device.profile.name,
            images: indices.length,
            unreadable: unreadable.count,
            dim,
            seconds: pace.seconds,
            pace: paceFields(pace),
            out: options.out,
            names,
          };
        } finally {
          device.close();
        }
      }),
    );
}
