/** Kernels compiled in a process of their own, which finds the compiler's device alone, and what the compiler says of each. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { UserError } from "#src/errors.js";
import type { KernelSpec } from "#src/gpu/kernel.js";
import { type Compiler, NoCompiler } from "./compilers.js";
import type { Code } from "./listing.js";

export interface Compiled {
  readonly spec: KernelSpec;
  /** Or why it does not compile. */
  readonly code: Code | string;
}

const CHILD = fileURLToPath(new URL("./compile.mjs", import.meta.url));
/** Lines of what is printed before the first kernel that are kept for an error's message. */
const KEPT = 20;

/**
 * @param onDone is told how many are done
 * @throws NoCompiler where the device does not open, UserError where the driver crashes at a kernel
 */
export async function compileAll(
  compiler: Compiler,
  specs: readonly KernelSpec[],
  onDone: (done: number) => void = () => {},
): Promise<{ adapter: string; compiled: Compiled[] }> {
  const child = spawn(process.execPath, [CHILD], {
    env: { ...process.env, ...compiler.env },
    stdio: ["pipe", "ignore", "pipe"],
  });
  // A child that ends early is told of below.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(specs));
  const closed = new Promise<string>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const compiled: Compiled[] = [];
  let adapter = "";
  let [started, ended] = [false, false];
  let failure: string | null = null;
  let lines: string[] = [];
  const take = () => {
    const spec = specs[compiled.length];
    compiled.push({ spec, code: failure ?? compiler.read(lines.join("\n")) });
    onDone(compiled.length);
  };
  for await (const line of createInterface(child.stderr)) {
    const [, what, text] = /^@@ (adapter|kernel|failed|end) ?(.*)$/.exec(line) ?? [];
    if (what === undefined) lines.push(line);
    else if (what === "failed") failure = text;
    else {
      // What was printed before the first kernel is no kernel's.
      if (what !== "adapter" && started) take();
      if (what === "adapter") adapter = text;
      if (what === "kernel") started = true;
      if (what === "end") ended = true;
      failure = null;
      lines = [];
    }
  }
  const how = await closed;
  const said = lines.slice(-KEPT).join("\n");
  if (adapter === "") throw new NoCompiler(`${compiler.title}: no such device opens (${how}):\n${said}`);
  if (!ended)
    throw new UserError(
      `${compiler.title}: the process ended with ${how} at ${JSON.stringify(specs[compiled.length])}:\n${said}`,
    );
  return { adapter, compiled };
}
