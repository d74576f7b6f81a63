import { statSync } from "node:fs";
import type { Command } from "commander";
import { cpuOnly, run } from "./shell.js";

/** `mpn convert`: a checkpoint to weights alone. */
export function register(program: Command): void {
  const command = program
    .command("convert")
    .description("strip a checkpoint to the weights that extract and evaluate need")
    .argument("<checkpoint>", "checkpoint written by train")
    .requiredOption("--out <file>", "safetensors file to write")
    .action(
      run(async (shell, path: string, options: { out: string }) => {
        const { readCheckpoint, writeWeights } = await import("../training/checkpoint.js");
        await writeWeights(options.out, await readCheckpoint(path));
        const { size } = statSync(options.out);
        shell.print(`${options.out}: ${(size / 1e6).toFixed(2)} MB`);
        return { out: options.out, bytes: size };
      }),
    );
  cpuOnly(command);
}
