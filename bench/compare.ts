/** One case in all systems, a run of each in turn, so that whatever else the machine does hits them alike. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { summarize, type Times } from "#src/cli/bench/timing.js";
import { userCacheFolder } from "#src/data/cache-folder.js";
import { type Facts, type Job, Peer } from "./peer.js";
import type { System } from "./systems.js";
import { temporaryFolder } from "./temporary.js";

export interface CompareOptions {
  /** Runs of each system after its first one. */
  readonly rounds: number;
  /** A system stops early once its runs, the first one left out, would take longer than this in all; one it always has. */
  readonly budgetSeconds: number;
  /** A child that takes longer to answer is ended. */
  readonly limitSeconds: number;
  /** How long a system runs before each run that is timed: a GPU slows its clocks down while others start, and raises them in its own time. */
  readonly warmMs?: number;
  /** Leaves the adapter's cache of compiled shaders as it is, instead of giving each child an empty one. */
  readonly warmCache?: boolean;
  /** Starts are measured further, a second one included, of systems whose first start took no longer. */
  readonly restartWithinSeconds: number;
  /** How many of either kind: fewer, at least one, where the first one tells that as many may take more than 21 s. */
  readonly starts: number;
  readonly say: (line: string) => void;
}

const START_BUDGET_MS = 21_000;

export interface Outcome extends Facts {
  readonly system: string;
  readonly title: string;
  /** Milliseconds from the start of the process to the first result, nothing being compiled before, in the median. */
  readonly firstStartMs: number;
  /** Processes that it is the median of. */
  readonly firstStarts: number;
  /** The same of further processes, which find the shaders that the first one compiled, in the median; null where not measured. */
  readonly secondStartMs: number | null;
  /** Those further processes. */
  readonly secondStarts: number;
  /** The first run alone, of the process whose other runs were timed. */
  readonly firstRunMs: number;
  /** Of the runs after the first. */
  readonly times: Times;
  /** Runs after the first. */
  readonly runs: number;
  /** Median CPU time of a run, all threads of the child. */
  readonly cpuMs: number | null;
  /** Cores that the child kept busy while others ran. */
  readonly idleCores: number | null;
  readonly peakBytes: number | null;
  readonly gpuBytes: number | null;
  readonly features: Float32Array | null;
  readonly losses: readonly number[];
}

export interface Failure {
  readonly system: string;
  readonly title: string;
  readonly failed: string;
}

/** A child with what was measured of it so far. */
interface Runner {
  readonly system: System;
  readonly peer: Peer;
  readonly env: NodeJS.ProcessEnv;
  readonly facts: Facts;
  readonly firstStartMs: number;
  readonly firstRunMs: number;
  readonly ms: number[];
  readonly cpu: number[];
  idleMs: number;
  waitedMs: number;
}

export async function compareCase(
  systems: readonly System[],
  job: Job,
  options: CompareOptions,
): Promise<(Outcome | Failure)[]> {
  const { say } = options;
  const caches = temporaryFolder("mpn-bench-shaders-");
  const failures = new Map<System, string>();
  const runners: Runner[] = [];
  const freshly = ({ name }: System) => environment(options.warmCache ? null : mkdtempSync(join(caches, `${name}-`)));
  const fail = ({ name }: System, error: unknown) => {
    const message = (error as Error).message.split("\n")[0].slice(0, 300);
    say(`${name} failed: ${message}`);
    return message;
  };
  try {
    for (const system of systems) {
      say(`${system.name}: first start`);
      const env = freshly(system);
      try {
        runners.push({ ...(await start(system, env, job, options)), env, ms: [], cpu: [], idleMs: 0, waitedMs: 0 });
      } catch (error) {
        failures.set(system, fail(system, error));
      }
    }
    for (let round = 1; round <= options.rounds; round++) {
      const going = runners.filter((r) => !failures.has(r.system) && goesOn(r.ms, options));
      if (going.length > 0) say(`round ${round} of ${options.rounds}: ${going.map((r) => r.system.name).join(", ")}`);
      for (const runner of going) {
        try {
          await warmUp(runner, options);
          await turn(runner, runners);
        } catch (error) {
          failures.set(runner.system, fail(runner.system, error));
        }
      }
    }
    const outcomes = new Map<System, Outcome>();
    for (const runner of runners.filter(({ system }) => !failures.has(system))) {
      try {
        outcomes.set(runner.system, await finish(runner));
      } catch (error) {
        failures.set(runner.system, fail(runner.system, error));
      }
    }
    // In turns, as the runs are; a system that fails keeps what was measured before, and starts no more.
    let due = runners.filter(
      ({ system, firstStartMs }) => outcomes.has(system) && firstStartMs <= 1000 * options.restartWithinSeconds,
    );
    const starts = new Map(
      due.map(({ system, firstStartMs }) => [system, { first: [firstStartMs], second: [] as number[] }]),
    );
    const startAgain = async (system: System, env: NodeJS.ProcessEnv) => {
      const { firstStartMs, peer } = await start(system, env, job, options);
      await peer.close();
      return firstStartMs;
    };
    for (let round = 0; round < options.starts; round++) {
      due = due.filter(({ firstStartMs }) => round < Math.max(1, Math.floor(START_BUDGET_MS / firstStartMs)));
      if (due.length > 0) say(`starts ${round + 1}: ${due.map(({ system }) => system.name).join(", ")}`);
      for (const runner of due) {
        const { system, env } = runner;
        const { first, second } = starts.get(system)!;
        try {
          if (round > 0) first.push(await startAgain(system, freshly(system)));
          second.push(await startAgain(system, env));
        } catch (error) {
          fail(system, error);
          due = due.filter((other) => other !== runner);
        }
      }
    }
    for (const [system, { first, second }] of starts)
      outcomes.set(system, {
        ...outcomes.get(system)!,
        firstStartMs: summarize(first).medianMs,
        firstStarts: first.length,
        secondStartMs: second.length > 0 ? summarize(second).medianMs : null,
        secondStarts: second.length,
      });
    return systems.map(
      (system) =>
        outcomes.get(system) ?? { system: system.name, title: system.title, failed: failures.get(system) ?? "" },
    );
  } finally {
    await Promise.all(runners.map(({ peer }) => peer.close()));
    rmSync(caches, { recursive: true, force: true });
  }
}

async function start(system: System, env: NodeJS.ProcessEnv, job: Job, { limitSeconds }: CompareOptions) {
  const started = performance.now();
  const peer = new Peer(system.name, system.command, env, limitSeconds);
  try {
    const facts = await peer.ask("prepare", job);
    const { ms: firstRunMs } = await peer.ask("run");
    return { system, peer, facts, firstRunMs, firstStartMs: performance.now() - started };
  } catch (error) {
    await peer.close();
    throw error;
  }
}

/** Whether another run is due: the first timed one always, others while as long ones fit the budget. */
function goesOn(ms: readonly number[], { budgetSeconds }: CompareOptions): boolean {
  return ms.length === 0 || (ms.length + 1) * (ms.reduce((a, b) => a + b) / ms.length) <= 1000 * budgetSeconds;
}

async function warmUp({ peer }: Runner, { warmMs = 0 }: CompareOptions): Promise<void> {
  for (const until = performance.now() + warmMs; performance.now() < until; ) await peer.ask("run");
}

async function turn(runner: Runner, all: readonly Runner[]): Promise<void> {
  const others = all.filter((r) => r !== runner).map((r) => ({ r, before: r.peer.cpuMs }));
  const before = runner.peer.cpuMs;
  const { ms } = await runner.peer.ask("run");
  const after = runner.peer.cpuMs;
  runner.ms.push(ms);
  if (before !== null && after !== null) runner.cpu.push(after - before);
  for (const { r, before } of others) {
    const now = r.peer.cpuMs;
    if (before === null || now === null) continue;
    r.idleMs += now - before;
    r.waitedMs += ms;
  }
}

async function finish({ system, peer, facts, firstStartMs, firstRunMs, ms, cpu, idleMs, waitedMs }: Runner) {
  const { features, losses = [] } = await peer.ask("result");
  const { gpuBytes = null } = await peer.ask("memory");
  const { peakBytes } = peer;
  await peer.close();
  const bytes = features === undefined ? null : Uint8Array.from(Buffer.from(features, "base64"));
  return {
    system: system.name,
    title: system.title,
    ...facts,
    firstStartMs,
    firstStarts: 1,
    secondStartMs: null,
    secondStarts: 0,
    firstRunMs,
    times: summarize(ms),
    runs: ms.length,
    cpuMs: cpu.length > 0 ? summarize(cpu).medianMs : null,
    idleCores: waitedMs > 0 ? idleMs / waitedMs : null,
    peakBytes,
    gpuBytes,
    features: bytes && new Float32Array(bytes.buffer),
    losses,
  };
}

/** A child's environment: no telemetry of ONNX Runtime, and shaders cached in a folder of its own, what was tuned where it is. */
function environment(cache: string | null): NodeJS.ProcessEnv {
  const env = { ...process.env, ORT_DISABLE_TELEMETRY: "1", MPN_TUNED: process.env.MPN_TUNED || userCacheFolder() };
  if (cache === null) return env;
  return { ...env, XDG_CACHE_HOME: cache, MESA_SHADER_CACHE_DIR: cache, __GL_SHADER_DISK_CACHE_PATH: cache };
}
