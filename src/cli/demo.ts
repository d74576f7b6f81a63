import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { UserError } from "../errors.js";
import { collect, run } from "./shell.js";

interface DemoOptions {
  out: string;
  set: string[];
}

/** Fewer epochs than the preset's, so that a processor playing the GPU is done within minutes. */
const DEMO_SETTINGS = ["epochs=4", "lrStep=3", "evaluateEvery=0"];

/** `mpn demo` (what `npm start` runs): synthetic people, training, evaluation, report. */
export function register(program: Command): void {
  program
    .command("demo")
    .description("write synthetic people, train MPN on them, evaluate before and after, leave a report")
    .option("--out <folder>", "folder of the run; an earlier demo in it is replaced", "runs/demo")
    .option("--set <key=value>", "one setting over the preset small; repeatable", collect, [])
    .action(
      run(async (shell, options: DemoOptions) => {
        const { loadConfig } = await import("../training/load-config.js");
        const config = loadConfig({ preset: "small", set: [...DEMO_SETTINGS, ...options.set] });
        const { modelOf } = await import("../models/index.js");
        const { openDevice } = await import("./common.js");
        const device = await openDevice(shell, { matrixUnits: config.matrixUnits });
        try {
          const { readSyntheticOptions, writeSyntheticDataset } = await import("../data/synth/dataset.js");
          const folder = join(options.out, "dataset");
          const started = performance.now();
          const known = await readSyntheticOptions(folder);
          // A synthetic dataset is a demo's; where its place is taken, writing it says so.
          const { checkRunFolder } = await import("./run-folder.js");
          if (!known) await checkRunFolder(options.out, "demo", ["dataset", "dataset.partial", "dataset.replaced"]);
          const { CHECKPOINT_FILE } = await import("../training/trainer.js");
          const earlier = join(options.out, CHECKPOINT_FILE);
          if (existsSync(earlier)) {
            if (!known) throw new UserError(`${earlier} was not made by a demo; choose another folder with --out.`);
            rmSync(earlier);
          }
          if (!known) await writeSyntheticDataset(folder, {}, shell.onProgress("drawing synthetic people"));
          const drawn = performance.now() - started;
          const { loadDataset } = await import("../data/dataset.js");
          const dataset = await loadDataset(folder, undefined, { layout: "market" });
          const { trainRun } = await import("./train-run.js");
          const result = await trainRun(shell, {
            device,
            dataset,
            config,
            folder: options.out,
            resume: false,
            evaluate: true,
            title: `${modelOf(config).title} on synthetic people`,
            timings: known ? [] : [{ name: "Drawing synthetic people", milliseconds: drawn }],
          });
          shell.print();
          shell.print("Next, on your own data (folders as Market-1501's):");
          shell.print("  npx mpn train path/to/dataset --out runs/mine --preset small");
          shell.print("  npx mpn evaluate path/to/dataset --weights runs/mine/checkpoint.safetensors");
          shell.print(
            "  npx mpn extract path/to/images --weights runs/mine/checkpoint.safetensors --out features.safetensors",
          );
          shell.print(
            "Parsing and segmentation maps beside the images give the coarse prior; without them parts are uniform stripes.",
          );
          if (result.interrupted) process.exitCode = 130;
          return { adapter: device.profile.name, ...result };
        } finally {
          device.close();
        }
      }),
    );
}
