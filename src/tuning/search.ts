/** Finds the fastest kernel for each convolution of a graph: verified against the plain one first, then timed in turns. */
import type { Device } from "../gpu/device.js";
import { Lowering } from "../graph/lowering.js";
import { Program, type Values } from "../graph/program.js";
import { apply, input, type Node, reachable, type Tensor } from "../graph/tensor.js";
import { describeChoice, firstCandidates, neighbours, sameChoice } from "../ops/conv-candidates.js";
import { type ConvChoice, type ConvProblem, chooseConv, plainChoice, tunedKey } from "../ops/conv-choice.js";
import { seededRng, uniform } from "../random.js";

/** A convolution (or gradient) to be tuned by itself: a problem, and a node that has it. */
export interface TuningCase {
  readonly key: string;
  readonly problem: ConvProblem;
  readonly node: Node;
}

export interface Tried {
  readonly choice: ConvChoice;
  readonly ms: number;
}

export interface Refused {
  readonly choice: ConvChoice;
  readonly why: string;
}

export interface TuningResult {
  readonly key: string;
  /** What is chosen untuned, and what won; the same where nothing was faster. */
  readonly usual: Tried;
  readonly winner: Tried;
  /** Choices that were verified and timed. */
  readonly tried: number;
  /** Choices that compute something else or do not compile, and which of it. */
  readonly refused: readonly Refused[];
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

/**
 * Largest relative difference (L2) from the plain kernel: both add up to some 200,000 products in float32, in different order. A
 * single wrong value among 50 million shows as more.
 */
const BOUND = 1e-4;
/** Units of f16 round operands to 11 bits; those of f32 round nothing. */
const HALVES_BOUND = 2e-3;
/** A choice has to be this much faster than the usual one to replace it: timings scatter. */
const WORTHWHILE = 0.98;

/** The distinct problems of graphs, in the order in which they first appear. Makes no GPU object. */
export function tuningCases(device: Device, outputs: readonly Tensor[]): TuningCase[] {
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable(outputs));
  const cases = new Map<string, TuningCase>();
  for (const { node, problem } of lowering.launches) {
    if (!problem) continue;
    const key = tunedKey(device.profile, problem as ConvProblem);
    if (!cases.has(key)) cases.set(key, { key, problem: problem as ConvProblem, node });
  }
  return [...cases.values()];
}

/**
 * Tunes one case; everything else in its node runs as the device would run it now. The device's choices are as before afterwards.
 * @throws when the plain kernel itself fails
 */
export async function tuneCase(
  device: Device,
  { key, problem, node }: TuningCase,
  options: TuningOptions,
): Promise<TuningResult> {
  const before = device.profile.tuned;
  const profile = { ...device.profile, tuned: undefined };
  const halves = profile.matrixUnits?.components === "f16";
  const bench = new Bench(device, node, key);
  const timed: Entry[] = [];
  const refused: Refused[] = [];
  const refuse = (choice: ConvChoice, why: string) => {
    refused.push({ choice, why });
    options.warn(`${key}: ${describeChoice(choice)} is refused: it ${why}`);
  };
  try {
    const plain = await bench.add(plainChoice(profile, problem));
    const expected = await bench.values(plain);
    const verify = async (choices: readonly ConvChoice[]) => {
      for (const choice of choices) {
        if ([...timed, ...refused].some((other) => sameChoice(other.choice, choice))) continue;
        const entry = await bench.add(choice).catch(async (error: Error) => {
          refuse(choice, `does not run (${error.message})`);
          // What WebGPU still has to say of it must not be laid at the next one's door.
          await device.idle().catch(() => {});
        });
        if (!entry) continue;
        const error = relativeError(await bench.values(entry), expected);
        if (error <= (choice.kernel === "matrix" && halves ? HALVES_BOUND : BOUND)) timed.push(entry);
        else refuse(choice, `is off by ${error.toExponential(1)} of the plain kernel's values`);
      }
    };
    const first = chooseConv(profile, problem);
    await verify([first, ...(options.candidates?.(problem) ?? firstCandidates(profile, problem))]);
    // Should the usual choice be refused, the plain one is what others have to beat.
    let usual = timed.find(({ choice }) => sameChoice(choice, first));
    if (!usual) timed.push((usual = plain));
    await bench.time(timed, options.rounds);
    for (let step = 0; step < (options.steps ?? 3); step++) {
      const best = fastest(timed);
      bench.keep([plain, usual, best]);
      const known = timed.length;
      await verify(neighbours(profile, problem, best.choice));
      if (timed.length === known) break;
      // The best so far has its turn with them, so that a load that comes and goes falls on all.
      await bench.time([best, ...timed.slice(known)], options.rounds);
      if (fastest(timed) === best) break;
    }
    // Both once more, side by side: they were first timed in different company.
    const best = fastest(timed);
    await bench.time([usual, best], options.rounds);
    const winner = best.ms < WORTHWHILE * usual.ms ? best : usual;
    const of = ({ choice, ms }: Entry): Tried => ({ choice, ms });
    return { key, usual: of(usual), winner: of(winner), tried: timed.length, refused };
  } finally {
    bench.destroy();
    device.useTuned(before);
  }
}

interface Entry {
  readonly choice: ConvChoice;
  readonly program: Program;
  ms: number;
}

const fastest = (entries: readonly Entry[]) => entries.reduce((a, b) => (b.ms < a.ms ? b : a));

/** One node with inputs of noise, and programs for it that share its inputs' and outputs' memory. */
class Bench {
  private entries: Entry[] = [];
  private readonly buffers = new Map<Tensor, GPUBuffer>();
  private readonly outputs: Record<string, Tensor>;

  constructor(
    private readonly device: Device,
    node: Node,
    private readonly key: string,
  ) {
    const inputs = node.inputs.map((t, i) => input(`input ${i}`, t.shape, t.dtype));
    const made = apply(node.op, inputs, node.attrs);
    this.outputs = Object.fromEntries(made.map((t, i) => [`output ${i}`, t]));
    const STORAGE_AND_COPIES = 0x8c;
    for (const t of [...inputs, ...made]) this.buffers.set(t, device.buffer(t.name, t.bytes, STORAGE_AND_COPIES));
    inputs.forEach((t, i) => {
      if (t.dtype === "f32") device.gpu.queue.writeBuffer(this.buffers.get(t)!, 0, noise(t.size, i));
    });
  }

  async add(choice: ConvChoice): Promise<Entry> {
    const { device, outputs, buffers } = this;
    device.useTuned({ ...device.profile.tuned, [this.key]: choice });
    const entry = {
      choice,
      program: await Program.compile(device, { outputs, buffers }),
      ms: Number.POSITIVE_INFINITY,
    };
    this.entries.push(entry);
    return entry;
  }

  /** What a program makes in memory that held nothing before. */
  async values({ program }: Entry): Promise<readonly Values[]> {
    const encoder = this.device.gpu.createCommandEncoder();
    for (const t of Object.values(this.outputs)) encoder.clearBuffer(this.buffers.get(t)!);
    this.device.gpu.queue.submit([encoder.finish()]);
    return Object.values(await program.run({}, Object.keys(this.outputs)));
  }

  /** Least times so far, after so many more rounds in which each has its turn. */
  async time(entries: readonly Entry[], rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++)
      for (const entry of entries) entry.ms = Math.min(entry.ms, await this.once(entry.program));
  }

  private async once(program: Program): Promise<number> {
    const { device } = this;
    if (device.gpu.features.has("timestamp-query"))
      return (await program.profile()).rows.reduce((sum, row) => sum + row.ms, 0);
    const started = performance.now();
    await program.run();
    await device.idle();
    return performance.now() - started;
  }

  /** Frees the memory of all others; they cannot run again. */
  keep(entries: readonly Entry[]): void {
    for (const entry of this.entries) if (!entries.includes(entry)) entry.program.destroy();
    this.entries = this.entries.filter((entry) => entries.includes(entry));
  }

  destroy(): void {
    for (const { program } of this.entries) program.destroy();
    for (const buffer of this.buffers.values()) this.device.release(buffer);
  }
}

function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  const rng = seededRng(seed);
  return Float32Array.from({ length: count }, () => uniform(rng, -1, 1));
}

function relativeError(actual: readonly Values[], expected: readonly Values[]): number {
  let error = 0;
  let norm = 0;
  expected.forEach((values, part) => {
    for (let i = 0; i < values.length; i++) {
      error += (actual[part][i] - values[i]) ** 2;
      norm += values[i] ** 2;
    }
  });
  return Math.sqrt(error / norm);
}
