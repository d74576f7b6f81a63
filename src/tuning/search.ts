/** Finds the fastest kernel for a convolution: each candidate is verified against the plain one, then timed in turns. */
import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { describeChoice, firstCandidates, neighbours, sameChoice } from "../ops/conv-candidates.js";
import {
  type ConvChoice,
  type ConvProblem,
  type ConvWay,
  chooseConv,
  plainChoice,
  WINOGRAD,
} from "../ops/conv-choice.js";
import { Bench } from "./bench.js";
import { kernelsOf, type TuningCase } from "./cases.js";
import { Verifier } from "./verify.js";

export interface Tried {
  readonly choice: ConvWay;
  readonly ms: number;
}

export interface Refused {
  readonly choice: ConvWay;
  readonly why: string;
}

export interface TuningResult {
  readonly key: string;
  /** What is chosen untuned, and what won; the same where nothing was faster. */
  readonly usual: Tried;
  readonly winner: Tried;
  /** Choices that were verified and timed, and the least time of each. */
  readonly tried: readonly Tried[];
  /** Choices that compute something else or do not compile, and which of it. */
  readonly refused: readonly Refused[];
}

/** Two devices of one adapter, opened with the same matrix units. */
export interface TuningDevices {
  /** As the runs that follow are opened: what is tuned is how long things take on it. */
  readonly timing: Device;
  /** With the driver's index clamps (`OpenOptions.robust`): a read out of bounds shows as a wrong number. */
  readonly checking: Device;
}

export interface TuningOptions {
  /** Times that every candidate is timed; the least counts. */
  readonly rounds: number;
  readonly warn: (line: string) => void;
  /** How often the neighbours of the best are tried; 3 by default. */
  readonly steps?: number;
  /** What is tried first; by default one of each kind. */
  readonly candidates?: (problem: ConvProblem) => readonly ConvChoice[];
}

/** How long a GPU works before anything is timed. */
const WARM_MS = 100;
/** A choice has to be this much faster than the usual one to replace it: timings scatter. */
const WORTHWHILE = 0.98;

/**
 * Tunes one case; everything else in its node runs as the devices would run it now. Their choices are as before afterwards.
 * @throws when the plain kernel itself fails
 */
export async function tuneCase(
  { timing, checking }: TuningDevices,
  given: TuningCase,
  options: TuningOptions,
): Promise<TuningResult> {
  const { key, problem } = given;
  const profile = { ...timing.profile, tuned: undefined };
  const timed: Entry[] = [];
  const refused: Refused[] = [];
  const refuse = (choice: ConvWay, why: string) => {
    refused.push({ choice, why });
    options.warn(`${key}: ${describeChoice(choice)} is refused: it ${why}`);
  };
  const verifier = await Verifier.open(checking, given);
  const stand = await Stand.open(timing, given).catch((error) => {
    verifier.destroy();
    throw error;
  });
  try {
    const plain = await stand.add(plainChoice(profile, problem));
    const verify = async (choices: readonly ConvWay[]) => {
      await Promise.all([timing, checking].map((device) => compileAhead(device, given, choices)));
      for (const choice of choices) {
        if ([...timed, ...refused].some((other) => sameChoice(other.choice, choice))) continue;
        const why = await verifier.objection(choice);
        if (why !== null) refuse(choice, why);
        else
          await stand.add(choice).then(
            (entry) => timed.push(entry),
            (error: Error) => refuse(choice, `does not run (${error.message})`),
          );
      }
    };
    const first = chooseConv(profile, problem);
    const candidates = options.candidates?.(problem) ?? firstCandidates(profile, problem);
    await verify([first, ...candidates, ...(given.winograd ? [WINOGRAD] : [])]);
    // Should the usual choice be refused, the plain one is what others have to beat.
    let usual = timed.find(({ choice }) => sameChoice(choice, first));
    if (!usual) timed.push((usual = plain));
    await stand.time(timed, options.rounds);
    for (let step = 0; step < (options.steps ?? 3); step++) {
      // Of kernels for the product itself, even where Winograd is ahead so far: one of their relatives may pass it.
      const products = () => timed.filter(({ choice }) => choice.kernel !== WINOGRAD.kernel);
      const best = fastest(products());
      stand.keep([plain, usual, best, fastest(timed)]);
      const known = timed.length;
      await verify(neighbours(profile, problem, best.choice as ConvChoice));
      if (timed.length === known) break;
      // The best so far has its turn with them, so that a load that comes and goes falls on all.
      await stand.time([best, ...timed.slice(known)], options.rounds);
      if (fastest(products()) === best) break;
    }
    // Both once more, side by side: they were first timed in different company.
    const best = fastest(timed);
    await stand.time([usual, best], options.rounds);
    const winner = best.ms < WORTHWHILE * usual.ms ? best : usual;
    const of = ({ choice, ms }: Entry): Tried => ({ choice, ms });
    return { key, usual: of(usual), winner: of(winner), tried: timed.map(of), refused };
  } finally {
    stand.destroy();
    verifier.destroy();
  }
}

/**
 * Asks for the pipelines of choices all at once, so that the driver's threads compile them side by side, and waits for them. What does not
 * compile is told when its choice is tried.
 */
export async function compileAhead(device: Device, given: TuningCase, choices: readonly ConvWay[]): Promise<void> {
  const kernels = choices.flatMap((choice) => kernelsOf(device.profile, given, choice));
  const made = await Promise.allSettled(kernels.map((kernel) => device.kernels.get(kernel)));
  // What WebGPU still has to say of them must not be laid at another's door.
  if (made.some(({ status }) => status === "rejected")) await device.idle().catch(() => {});
}

interface Entry {
  readonly choice: ConvWay;
  readonly program: Program;
  ms: number;
}

const fastest = (entries: readonly Entry[]) => entries.reduce((a, b) => (b.ms < a.ms ? b : a));

/** A case on the device that times it; the programs of its entries make one output in turns. */
class Stand {
  private entries: Entry[] = [];

  private constructor(private readonly bench: Bench) {}

  static async open(device: Device, given: TuningCase): Promise<Stand> {
    const bench = await Bench.open(device, given);
    bench.share(bench.output);
    return new Stand(bench);
  }

  async add(choice: ConvWay): Promise<Entry> {
    const program = await this.bench.compile(choice, { output: this.bench.output });
    const entry = { choice, program, ms: Number.POSITIVE_INFINITY };
    this.entries.push(entry);
    return entry;
  }

  /** Least times so far, after so many more rounds in which each has its turn. */
  async time(entries: readonly Entry[], rounds: number): Promise<void> {
    await this.warmUp(entries);
    for (let round = 0; round < rounds; round++)
      for (const [i, ms] of (await this.turns(entries)).entries()) entries[i].ms = Math.min(entries[i].ms, ms);
  }

  /** A GPU that had nothing to do, while pipelines were made, has slowed its clocks down, and takes its time to raise them. */
  private async warmUp(entries: readonly Entry[]): Promise<void> {
    if (this.bench.device.profile.software) return;
    for (const until = performance.now() + WARM_MS; performance.now() < until; ) await this.turns(entries);
  }

  private async turns(entries: readonly Entry[]): Promise<number[]> {
    const { device } = this.bench;
    const programs = entries.map(({ program }) => program);
    if (device.gpu.features.has("timestamp-query")) {
      const { rows } = await Program.profileAll(device, programs);
      let at = 0;
      return programs.map(({ dispatches }) => rows.slice(at, (at += dispatches)).reduce((sum, { ms }) => sum + ms, 0));
    }
    const times: number[] = [];
    for (const program of programs) {
      const started = performance.now();
      await program.run();
      await device.idle();
      times.push(performance.now() - started);
    }
    return times;
  }

  /** Frees the memory of all others; they cannot run again. */
  keep(entries: readonly Entry[]): void {
    for (const entry of this.entries) if (!entries.includes(entry)) entry.program.destroy();
    this.entries = this.entries.filter((entry) => entries.includes(entry));
  }

  destroy(): void {
    this.keep([]);
    this.bench.destroy();
  }
}
