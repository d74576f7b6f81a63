/**
 * Runs the test files, each in a process of its own, since a crash of a GPU driver ends a process; and one after the
 * other, since a software adapter takes all cores.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const SECONDS_PER_FILE = 300;
/** How many times slower than lavapipe SwiftShader is at worst. */
const SLOWEST_ADAPTER = 15;

export interface Ended {
  /** stdout and stderr as they came. */
  output: string;
  /** `exit code 0`, `ended by SIGSEGV`, `ran longer than 300 s`. */
  ending: string;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** What went wrong beside failed tests; null where nothing did. */
  problem: string | null;
}

export interface TestOptions {
  env: NodeJS.ProcessEnv;
  /** Name of the adapter that the tests run on. */
  adapter: string;
  /** Parts that a test file's path must have, all of them. */
  filters: readonly string[];
}

/**
 * Runs every `test/**\/*.test.ts` under `root`, and without filters first the checks of types and style. Prints a line
 * for each, why tests are skipped where they say so (`skipped: ...`), the output of those that fail, and at last `N passed, N failed`.
 * @returns whether something was tested and nothing failed
 */
export async function runTests(root: string, { env, adapter, filters }: TestOptions): Promise<boolean> {
  const limit = SECONDS_PER_FILE * (/swiftshader/i.test(adapter) ? SLOWEST_ADAPTER : 1);
  const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .map((file) => `test/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".test.ts") && filters.every((filter) => file.includes(filter)))
    .sort();
  const checks = [
    {
      title: "types",
      args: ["node_modules/typescript/bin/tsc", "-p", "test/tsconfig.json", "--noEmit"],
      count: countCheck,
    },
    { title: "style", args: ["node_modules/@biomejs/biome/bin/biome", "check"], count: countCheck },
  ];
  const tests = files.map((file) => ({ title: file, args: ["--import", "tsx", file], count: countTests }));
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const { title, args, count } of filters.length > 0 ? tests : [...checks, ...tests]) {
    const started = performance.now();
    const ended = await runNode(args, { cwd: root, env, seconds: limit });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const counts = count(ended);
    sum.passed += counts.passed;
    sum.failed += counts.failed;
    sum.skipped += counts.skipped;
    if (counts.failed > 0) console.log(ended.output.trimEnd());
    console.log(`${counts.failed > 0 ? "FAIL" : "ok  "} ${title}  ${describe(counts)}  ${seconds} s`);
    for (const [line] of counts.skipped > 0 ? ended.output.matchAll(/^skipped: .*$/gm) : [])
      console.log(`     ${line}`);
  }
  if (files.length === 0) console.log(`there is no test file for: ${filters.join(" ")}`);
  console.log(`${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ""}`);
  return files.length > 0 && sum.failed === 0;
}

function describe({ passed, failed, skipped, problem }: Counts): string {
  const parts = [`${passed} passed`];
  if (failed > 0) parts.push(`${failed} failed${problem === null ? "" : ` (${problem})`}`);
  if (skipped > 0) parts.push(`${skipped} skipped`);
  return parts.join(", ");
}

/** Runs `node ...args`; past `seconds` it is killed, with all processes that it started. */
export function runNode(
  args: readonly string[],
  { cwd, env, seconds }: { cwd: string; env: NodeJS.ProcessEnv; seconds: number },
): Promise<Ended> {
  return new Promise((done) => {
    const grouped = process.platform !== "win32";
    const child = spawn(process.execPath, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: grouped });
    const kill = () => {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      if (grouped) process.kill(-child.pid, "SIGKILL");
      else child.kill("SIGKILL");
    };
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      kill();
    }, seconds * 1000);
    process.once("exit", kill);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      process.off("exit", kill);
      done({
        output,
        ending: late ? `ran longer than ${seconds} s` : signal ? `ended by ${signal}` : `exit code ${code}`,
      });
    });
  });
}

/** Counts of one test file from uvu's summary and the end of its process: a crash after the summary is a failure too. */
export function countTests({ output, ending }: Ended): Counts {
  const count = (label: string) => {
    const last = [...output.matchAll(new RegExp(`^  ${label}: +(\\d+)$`, "gm"))].at(-1);
    return Number(last?.[1] ?? 0);
  };
  // uvu counts a skipped test neither as passed nor in the total.
  const [total, passed, skipped] = [count("Total"), count("Passed"), count("Skipped")];
  const failed = total - passed;
  if (ending !== `exit code ${failed > 0 ? 1 : 0}`) return { passed, failed: failed + 1, skipped, problem: ending };
  if (total + skipped === 0) return { passed, failed: 1, skipped, problem: "no test ran" };
  return { passed, failed, skipped, problem: null };
}

function countCheck({ ending }: Ended): Counts {
  const ok = ending === "exit code 0";
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0, problem: ok ? null : ending };
}
