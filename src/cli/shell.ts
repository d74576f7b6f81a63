/**
 * What all commands of `mpn` share: `--json`, exit codes, error messages, progress, Ctrl-C.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted twice. With `--json` stdout carries one JSON object and
 * nothing else: the command's result, or `{"error": message}`. Everything else goes to stderr.
 */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { UserError } from "../errors.js";
import { type Progress, silentProgress, startProgress, writeNote } from "./progress.js";

/** What a command gets besides its own arguments. */
export interface Shell {
  /** Whether `--json` was given. */
  readonly json: boolean;
  /** Writes a line of the answer to stdout; nothing with `--json`. */
  print(line?: string): void;
  /** Writes a line about what goes on to stderr; nothing with `--json`. */
  note(line: string): void;
  /** Writes a warning to stderr, always. */
  warn(line: string): void;
  /** Shows the progress of `total` steps on stderr; nothing with `--json`. */
  progress(title: string, total: number): Progress;
  /** The same as a callback for functions that report `done` of `total`; it ends when all is done. */
  onProgress(title: string): (done: number, total: number) => void;
  /**
   * Calls `stop` on the first Ctrl-C (or SIGTERM) instead of ending the process, so that a command can save and
   * return; the second one ends the process. Call the result once the danger is over.
   */
  onInterrupt(stop: () => void): () => void;
}

export type Register = (program: Command) => void;

/**
 * Wraps a command's action: `program.command("x").argument("<a>").action(run(async (shell, a, options) => ...))`. What it
 * returns is the object that `--json` prints.
 */
export function run<Args extends unknown[]>(
  action: (shell: Shell, ...args: Args) => Promise<object>,
): (...args: [...Args, Command]) => Promise<void> {
  return async (...all) => {
    const command = all.at(-1) as Command;
    const started: Progress[] = [];
    const shell = createShell(command.optsWithGlobals<{ json?: boolean }>().json === true, started);
    try {
      const result = await action(shell, ...(all.slice(0, -1) as Args));
      if (shell.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    } finally {
      // Where the action failed in the middle, a bar's timer would keep the process from ending.
      for (const progress of started) progress.stop();
    }
  };
}

function createShell(json: boolean, started: Progress[]): Shell {
  const start = (title: string, total: number): Progress => {
    const progress = json ? silentProgress : startProgress(title, total);
    started.push(progress);
    return progress;
  };
  return {
    json,
    print: (line = "") => {
      if (!json) process.stdout.write(`${line}\n`);
    },
    note: (line) => {
      if (!json) writeNote(line);
    },
    warn: (line) => writeNote(`warning: ${line}`),
    progress: start,
    onProgress: (title) => {
      let progress: Progress | null = null;
      return (done, total) => {
        progress ??= start(title, total);
        progress.update(done);
        if (done >= total) progress.stop();
      };
    },
    onInterrupt,
  };
}

function onInterrupt(stop: () => void): () => void {
  let asked = false;
  const listener = () => {
    if (asked) process.exit(130);
    asked = true;
    writeNote("stopping; press Ctrl-C again to end at once");
    stop();
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}

/** Parses an option's value: a whole number of at least `least`. */
export function wholeNumber(least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
    }
    return value;
  };
}

/** Parses an option's value: a number within bounds. */
export function numberFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most))
      throw new InvalidArgumentError(`Expected a number from ${least} to ${most}.`);
    return value;
  };
}

/** Parses an option's value: the size of pictures. */
export function heightByWidth(text: string): [number, number] {
  const [, height, width] = /^([1-9]\d*)x([1-9]\d*)$/.exec(text) ?? [];
  if (width === undefined) throw new InvalidArgumentError("Expected height x width, such as 384x128.");
  return [Number(height), Number(width)];
}

/** Collects an option that may be given several times: `.option("--set <key=value>", "...", collect, [])`. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

const withoutAdapter = new WeakSet<Command>();

/** Marks a command that runs without a GPU adapter. */
export function cpuOnly(command: Command): Command {
  withoutAdapter.add(command);
  return command;
}

/** Runs `mpn` with the arguments of a process's `argv`; returns the exit code. */
export async function main(argv: readonly string[], registers: readonly Register[]): Promise<number> {
  // Read by Vulkan loaders, which complain where it is not set.
  if (process.platform === "linux") process.env.XDG_RUNTIME_DIR ||= tmpdir();
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0); // `mpn ... | head` has read enough.
  });
  const json = argv.includes("--json");
  try {
    await createProgram(registers).parseAsync([...argv]);
    // A command that did its work may still have bad news (a failed check, an interruption).
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof Restarted) return error.exitCode;
    return report(error, json);
  }
}

function createProgram(registers: readonly Register[]): Command {
  const { version, description } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const program = new Command("mpn")
    .description(description)
    .version(version)
    .option("--json", "print one JSON object on stdout and nothing else there")
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(mpn --help lists the commands, mpn <command> --help its options)")
    .exitOverride()
    .hook("preAction", (_, command) => restartWithAdapter(command));
  for (const register of registers) register(program);
  return program;
}

/** Thrown to end this process after another one has done its work. */
class Restarted extends Error {
  constructor(readonly exitCode: number) {
    super("restarted");
  }
}

/**
 * Where Dawn finds no adapter, but the setup once fetched SwiftShader, runs the same command in a process that finds
 * that: a Vulkan loader is chosen by the environment that a process starts with.
 */
async function restartWithAdapter(command: Command): Promise<void> {
  if (process.platform !== "linux" || withoutAdapter.has(command)) return;
  const { environmentForRestart } = await import("../setup/adapter.js");
  const env = environmentForRestart();
  if (env === null) return;
  const { spawn } = await import("node:child_process");
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], { env, stdio: "inherit" });
  const ignore = () => {}; // The terminal sends Ctrl-C to both; the child decides.
  const forward = () => child.kill("SIGTERM");
  process.on("SIGINT", ignore).on("SIGTERM", forward);
  const code = await new Promise<number>((resolve, reject) => {
    child.on("error", reject).on("close", (status) => resolve(status ?? 1));
  });
  process.off("SIGINT", ignore).off("SIGTERM", forward);
  throw new Restarted(code);
}

/** What the operating system says of files, in words; the message names the path. */
const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full. What was written before is kept; free some space",
  EDQUOT: "the disk quota is used up. What was written before is kept; free some space",
  EFBIG: "the file would exceed the size allowed here",
  EROFS: "the file system is read-only; choose another folder",
  EACCES: "permission denied; check the rights of the folder",
  EPERM: "the system does not permit it; check the owner and the attributes of the file",
  EEXIST: "something of that name is in the way",
  ENOENT: "there is no such file or folder, or a link to it leads nowhere",
  ELOOP: "symbolic links lead in a circle",
  EISDIR: "it is a folder, where a file is expected",
  ENOTDIR: "a part of the path is a file, not a folder",
};

/** A file that cannot be written or read is the user's to mend, wherever in a command it happens. */
function systemError(error: unknown): string | null {
  const { code, path, message } = error as NodeJS.ErrnoException;
  const reason = SYSTEM_ERRORS[code ?? ""];
  return reason ? `${path ?? message}: ${reason}.` : null;
}

/** Tells what went wrong, on stderr and with `--json` on stdout too; returns the exit code. */
function report(error: unknown, json: boolean): number {
  // Commander has written its own message, and throws for --help and --version too, with exit code 0.
  const fromCommander = error instanceof CommanderError;
  if (fromCommander && error.exitCode === 0) return 0;
  let message = (error instanceof Error ? error.message : String(error)).replace(/^error: /, "");
  if (fromCommander && error.code === "commander.help") message = "no command given";
  if (json) process.stdout.write(`${JSON.stringify({ error: message })}\n`);
  if (fromCommander) return 2;
  if (error instanceof UserError) {
    writeNote(`error: ${message}`);
    if (process.env.MPN_DEBUG) writeNote(error.stack ?? "");
    return error.exitCode;
  }
  const fromSystem = systemError(error);
  writeNote(`error: ${fromSystem ?? message}`);
  if (process.env.MPN_DEBUG && error instanceof Error) writeNote(error.stack ?? "");
  else if (!fromSystem)
    writeNote("This is a bug in mpn. Run again with MPN_DEBUG=1 to see where, and please report it.");
  return 1;
}
