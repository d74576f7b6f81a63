/**
 * What a command is about to write, looked at before its work begins: a file or folder that is there already is replaced
 * only where the same command may have left it, and never where it is one of the command's inputs.
 */
import { open, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "../errors.js";
import { inWords } from "../formats/write-aside.js";

interface Kind {
  /** As messages call it. */
  readonly what: string;
  readonly example: string;
  /** Whether whatever writes it makes the folders on the way too. */
  readonly makesFolders?: true;
  /** Whether a file is of this kind and was written by the command, or by an earlier version of it. */
  isOwn(path: string): Promise<boolean>;
}

const KINDS = {
  page: {
    what: "HTML page",
    example: "report.html",
    makesFolders: true,
    isOwn: async (path) => /^\uFEFF?\s*<(!doctype\s+html|html)\b/i.test((await start(path)).toString("utf8")),
  },
  features: {
    what: "file of features as extract writes it",
    example: "features.safetensors",
    isOwn: async (path) => {
      const { SafetensorsReader } = await import("../formats/safetensors.js");
      const reader = await SafetensorsReader.open(path);
      await reader.close();
      return [...reader.entries.keys()].join() === "features" && "names" in reader.metadata;
    },
  },
  weights: {
    what: "file of weights alone as convert writes it",
    example: "weights.safetensors",
    isOwn: async (path) => (await import("../training/checkpoint.js")).holdsWeightsAlone(path),
  },
  torch: {
    what: "file for torch as convert writes it",
    example: "weights.pth",
    isOwn: async (path) => (await import("../formats/torch-write.js")).startsAsWritten(await start(path)),
  },
  bench: {
    what: "report of npm run bench",
    example: "bench.txt",
    isOwn: async (path) =>
      /^(# mpn-webgpu bench\n|MPN-WEBGPU BENCH\n|\{"bench":"mpn-webgpu")/.test((await start(path)).toString()),
  },
  onnx: {
    what: "ONNX model as convert writes it",
    example: "model.onnx",
    isOwn: async (path) => (await start(path)).toString("latin1").startsWith("\b\b\x12\nmpn-webgpu"),
  },
} satisfies Record<string, Kind>;

/**
 * @param option that names the file
 * @param inputs files that the command reads
 * @throws UserError where writing the file would cost an input or something else, or cannot be done
 */
export async function checkOutput(
  option: string,
  path: string,
  kind: keyof typeof KINDS,
  inputs: readonly (string | undefined)[],
): Promise<void> {
  const { what, example, makesFolders, isOwn }: Kind = KINDS[kind];
  const found = await statOf(path);
  if (found === null) {
    const folder = dirname(path);
    if (makesFolders || (await statOf(folder))) return;
    throw new UserError(`${option} ${path}: there is no folder ${folder}. Make it, or choose another one.`);
  }
  if (!found.isFile()) {
    const [is, instead] = found.isDirectory() ? ["a folder", join(path, example)] : ["no plain file", example];
    throw new UserError(`${option} ${path} is ${is}; name a file, such as ${instead}.`, { exitCode: 2 });
  }
  for (const input of inputs) {
    // By what the paths lead to: links and other spellings are the same file.
    const read = input === undefined ? null : await statOf(input);
    if (read && read.ino === found.ino && read.dev === found.dev)
      throw new UserError(
        `${option} ${path} is ${input}, which the command reads; it would be replaced. Choose another name.`,
        { exitCode: 2 },
      );
  }
  if (found.size === 0) return;
  const own = await isOwn(path).catch((error) => {
    // Not to be read as such a file, which is the answer.
    if (error instanceof UserError) return false;
    throw error;
  });
  if (!own)
    throw new UserError(
      `${option} ${path}: what is there is no ${what}, and would be lost. Choose another name, or remove it first.`,
    );
}

/**
 * @param command that --out is for
 * @param isOwn whether the folder is one that the command made
 * @param beside entries that do not matter
 * @throws UserError when the folder holds other things
 */
export async function checkOutFolder(
  folder: string,
  command: string,
  isOwn: () => boolean | Promise<boolean>,
  beside: readonly string[] = [],
): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (entries.every((entry) => beside.includes(entry)) || (await isOwn())) return;
  throw new UserError(
    `--out ${folder} holds other things and was not made by mpn ${command}. Choose another folder, so that nothing is lost.`,
  );
}

/** Null where there is nothing. */
async function statOf(path: string) {
  return stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return null;
    throw new UserError(`Cannot write ${path}: ${inWords(cause)}`, { cause });
  });
}

/** The first bytes of a file: enough for what tells its kind. */
async function start(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
