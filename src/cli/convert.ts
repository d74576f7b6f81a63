import { statSync } from "node:fs";
import { extname } from "node:path";
import { type Command, Option } from "commander";
import { UserError } from "../errors.js";
import type { Checkpoint } from "../training/checkpoint.js";
import { checkOutput } from "./outputs.js";
import { collect, cpuOnly, run, type Shell, wholeNumber } from "./shell.js";

interface ConvertOptions {
  out: string;
  names: "ours" | "official";
  preset?: string;
  set: string[];
  batch?: number;
  flip: boolean;
}

const ONNX = ".onnx";

/** What the ending of --out asks for; torch's files are often called model.pth.tar. */
const KINDS: Readonly<Record<string, "weights" | "torch" | "onnx" | undefined>> = {
  ".safetensors": "weights",
  ".pth": "torch",
  ".pt": "torch",
  ".tar": "torch",
  [ONNX]: "onnx",
};

/** `mpn convert`: a checkpoint, ours or one of torch, to weights alone, as safetensors or for torch, or to an ONNX model. */
export function register(program: Command): void {
  const command = program
    .command("convert")
    .description(
      "strip a checkpoint to the weights that extract and evaluate need, carry weights from and to torch, or export to ONNX",
    )
    .argument(
      "<checkpoint>",
      "checkpoint written by train, or by torch.save (.pth: MPN's published code and its IDE, torchvision, ours)",
    )
    .requiredOption("--out <file>", `file to write: .safetensors, .pth (.pt, .tar) for torch, or ${ONNX}`)
    .addOption(
      new Option("--names <which>", "names of the tensors in a file for torch")
        .choices(["ours", "official"])
        .default("ours"),
    )
    .option("--preset <name>", "settings that the shapes of a torch file do not tell (default: official or paper)")
    .option("--set <key=value>", "one such setting; repeatable", collect, [])
    .option("--batch <images>", "ONNX: images of a batch (default: any number)", wholeNumber(1))
    .option("--flip", "ONNX: average the features of an image with those of its mirror image, as extract does", false)
    .action(
      run(async (shell, path: string, options: ConvertOptions) => {
        const kind = KINDS[extname(options.out).toLowerCase()];
        if (kind === undefined) {
          throw new UserError(
            `--out ${options.out}: its ending must say what to write: .safetensors for weights alone, .pth, .pt or .tar for ` +
              `torch, ${ONNX} for an ONNX model.`,
            { exitCode: 2 },
          );
        }
        const toOnnx = kind === "onnx";
        if (!toOnnx && (options.batch !== undefined || options.flip)) {
          const given = options.flip ? "--flip" : "--batch";
          throw new UserError(`${given} is for ONNX models: name a file ${ONNX} with --out.`, { exitCode: 2 });
        }
        const official = options.names === "official";
        if (official && kind !== "torch") {
          throw new UserError(
            `--names official is for files of torch, and --out ${options.out} is none: name a file .pth, .pt or .tar.`,
            { exitCode: 2 },
          );
        }
        await checkOutput("--out", options.out, kind, [path]);
        const { isTorchFile } = await import("../formats/torch-file.js");
        const checkpoints = await import("../training/checkpoint.js");
        const { checkComplete, loadsStrictly, officialName, readForeign } = await import("../training/foreign.js");
        const foreign = (await isTorchFile(path)) ? await readForeign(path, options) : null;
        if (foreign) checkComplete(foreign, path);
        const checkpoint = foreign
          ? checkpoints.foreignCheckpoint(path, foreign)
          : await checkpoints.readCheckpoint(path);
        if (!foreign && (options.preset !== undefined || options.set.length > 0)) {
          const given = options.preset === undefined ? "--set" : "--preset";
          throw new UserError(
            `${given} says what a file of torch leaves open, and ${path} is none: it keeps its own settings. Leave ${given} out.`,
            { exitCode: 2 },
          );
        }
        if (toOnnx) return toOnnxFile(shell, checkpoint, options);
        const { weights, config } = checkpoint;
        // The published code loads a network whole, with the classifiers that only its training runs.
        const keeps = (name: string) =>
          !checkpoints.TRAINING_ONLY.test(name) || (official && checkpoints.CLASSIFIER.test(name));
        const kept = [...weights].filter(([name]) => keeps(name));
        if (kind === "torch") {
          const { writeTorch } = await import("../formats/torch-write.js");
          await writeTorch(
            options.out,
            kept.map(([name, { shape, data }]) => [
              official ? officialName(name, config.model) : name,
              { dtype: "F32", shape: [...shape], data },
            ]),
          );
        } else await checkpoints.writeWeights(options.out, checkpoint);
        const dropped = [...weights.keys()].filter((name) => !keeps(name));
        const skipped = [...(foreign?.skipped ?? []), ...dropped];
        const { size } = statSync(options.out);
        shell.print(`${options.out}: ${(size / 1e6).toFixed(2)} MB, ${kept.length} tensors`);
        if (skipped.length > 0) {
          shell.print(
            `left out: ${skipped.length} (classifiers, layers of training alone, counters), such as ${skipped[0]}`,
          );
        }
        if (official && !loadsStrictly(weights, config.model)) {
          shell.print(
            `${path} lacks classifiers that the published code looks for: there, load ${options.out} with ` +
              "load_state_dict(..., strict=False)",
          );
        }
        return { out: options.out, bytes: size, tensors: kept.length, skipped, config };
      }),
    );
  cpuOnly(command);
}

async function toOnnxFile(shell: Shell, checkpoint: Checkpoint, { out, batch, flip }: ConvertOptions): Promise<object> {
  const { onnxModel } = await import("../export/onnx.js");
  const { OPSET, writeOnnx } = await import("../formats/onnx.js");
  const { modelConfigOf } = await import("../training/config.js");
  const { config, pids, weights, path } = checkpoint;
  const interpolation = config.testInterpolation;
  const model = onnxModel(modelConfigOf(config, pids.length), weights, { batch, flip, interpolation, source: path });
  const bytes = await writeOnnx(out, model);
  const [input, output] = [model.inputs[0], model.outputs[0]].map(({ name, shape }) => ({ name, shape }));
  const [from, to] = [input, output].map(({ name, shape }) => `${name} [${shape.join(", ")}]`);
  const size = `${(bytes / 1e6).toFixed(2)} MB, opset ${OPSET}, ${model.nodes.length} nodes`;
  shell.print(`${out}: ${size}, from ${from} (normalised; see its metadata) to ${to}`);
  return { out, bytes, opset: OPSET, nodes: model.nodes.length, input, output, metadata: model.metadata, config };
}
