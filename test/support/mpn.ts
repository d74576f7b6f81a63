/** Runs the built `mpn` as a user would. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

const program = join(import.meta.dirname, "../../dist/cli/index.js");

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** @param watch is called with the process and every piece of stderr, to interfere with it */
export function mpn(args: readonly string[], watch?: (child: ChildProcess, stderr: string) => void): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (piece) => {
      stdout += piece;
    });
    child.stderr.on("data", (piece) => {
      stderr += piece;
      watch?.(child, stderr);
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}
