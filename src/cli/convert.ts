import { statSync } from "node:fs";
import { extname } from "node:path";
import { type Command, Option } from "commander";
import { collect, cpuOnly, run } from "./shell.js";

interface ConvertOptions {
  out: string;
  names: "ours" | "official";
  preset?: string;
  set: string[];
}

const TORCH = [".pth", ".pt", ".tar"];

/** `mpn convert`: a checkpoint, ours or one of torch, to weights alone, as safetensors or for torch. */
export function register(program: Command): void {
  const command = program
    .command("convert")
    .description("strip a checkpoint to the weights that extract and evaluate need, or carry weights from and to torch")
    .argument(
      "<checkpoint>",
      "checkpoint written by train, or by torch.save (.pth: MPN's published code, torchvision, ours)",
    )
    .requiredOption("--out <file>", `file to write: .safetensors, or ${TORCH[0]} for torch`)
    .addOption(
      new Option("--names <which>", "names of the tensors in a file for torch")
        .choices(["ours", "official"])
        .default("ours"),
    )
    .option("--preset <name>", "settings that the shapes of a torch file do not tell (default: official or paper)")
    .option("--set <key=value>", "one such setting; repeatable", collect, [])
    .action(
      run(async (shell, path: string, options: ConvertOptions) => {
        const { isTorchFile } = await import("../formats/torch.js");
        const checkpoints = await import("../training/checkpoint.js");
        const { checkComplete, officialName, readForeign } = await import("../training/foreign.js");
        const foreign = (await isTorchFile(path)) ? await readForeign(path, options) : null;
        if (foreign) checkComplete(foreign, path);
        const checkpoint = foreign
          ? checkpoints.foreignCheckpoint(path, foreign)
          : await checkpoints.readCheckpoint(path);
        const dropped = [...checkpoint.weights.keys()].filter((name) => checkpoints.TRAINING_ONLY.test(name));
        const written = checkpoint.weights.size - dropped.length;
        if (TORCH.includes(extname(options.out))) {
          const { writeTorch } = await import("../formats/torch-write.js");
          const name = options.names === "official" ? officialName : (own: string) => own;
          await writeTorch(
            options.out,
            [...checkpoint.weights]
              .filter(([own]) => !checkpoints.TRAINING_ONLY.test(own))
              .map(([own, { shape, data }]) => [name(own), { dtype: "F32", shape: [...shape], data }]),
          );
        } else await checkpoints.writeWeights(options.out, checkpoint);
        const skipped = [...(foreign?.skipped ?? []), ...dropped];
        const { size } = statSync(options.out);
        shell.print(`${options.out}: ${(size / 1e6).toFixed(2)} MB, ${written} tensors`);
        if (skipped.length > 0) {
          shell.print(
            `left out: ${skipped.length} (classifiers, layers of training alone, counters), such as ${skipped[0]}`,
          );
        }
        return { out: options.out, bytes: size, tensors: written, skipped, config: checkpoint.config };
      }),
    );
  cpuOnly(command);
}
