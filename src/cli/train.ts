import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { type MapOptions, mapSettings, withMapFolders } from "./map-options.js";
import { collect, run } from "./shell.js";

interface TrainOptions extends MapOptions {
  out: string;
  preset?: string;
  config?: string;
  set: string[];
  resume?: boolean;
  init?: string;
  evaluate: boolean;
}

/** `mpn train`: trains MPN, or a variant of it by configuration, on a dataset. */
export function register(program: Command): void {
  withMapFolders(program.command("train"))
    .description("train MPN, or a variant of it, on a dataset in the layout of Market-1501")
    .argument("<dataset>", "folder with bounding_box_train and, to evaluate, query and bounding_box_test")
    .requiredOption("--out <folder>", "folder for checkpoint, metrics, configuration and report")
    .option("--preset <name>", "paper (ResNet-50 at 384x128) or small (for CPUs)")
    .option("--config <file>", "YAML file of settings, over the preset")
    .option("--set <key=value>", "one setting, over all others; repeatable", collect, [])
    .option("--resume", "go on from the checkpoint in --out, to the same weights as if never stopped")
    .option("--init <checkpoint>", "start from the weights of this checkpoint")
    .option("--no-evaluate", "do not evaluate before, during and after training")
    .action(
      run(async (shell, folder: string, options: TrainOptions) => {
        const { loadConfig } = await import("../training/config.js");
        const { CONFIG_FILE, trainRun } = await import("./train-run.js");
        const { loadDataset } = await import("../data/dataset.js");
        const { canEvaluate, openDevice } = await import("./common.js");
        // A resumed run goes on with its own settings, unless others are named.
        const own = join(options.out, CONFIG_FILE);
        const file = options.config ?? (options.resume && !options.preset && existsSync(own) ? own : undefined);
        const config = loadConfig({ preset: options.preset, file, set: [...mapSettings(options), ...options.set] });
        const dataset = await loadDataset(folder, ["train"]);
        if (options.evaluate && !canEvaluate(dataset)) {
          shell.warn(
            `${dataset.root} has no query and bounding_box_test; the network is trained without being evaluated.`,
          );
        }
        const device = await openDevice(shell);
        try {
          const { out, init, resume = false, evaluate } = options;
          const result = await trainRun(shell, {
            device,
            dataset,
            config,
            folder: out,
            resume,
            init,
            evaluate,
            title: `MPN on ${dataset.name}`,
          });
          if (result.interrupted) {
            shell.note(`Stopped after step ${result.steps}. Go on with the same command and --resume.`);
            process.exitCode = 130;
          }
          return { adapter: device.profile.name, ...result };
        } finally {
          device.close();
        }
      }),
    );
}
