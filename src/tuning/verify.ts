/** Whether choices compute what the plain kernel does, at a case's own number of pixels and where tiles end ragged. */
import type { Device, DeviceProfile } from "../gpu/device.js";
import { castOp } from "../graph/storage.js";
import { apply, input, type Tensor } from "../graph/tensor.js";
import { mul, sumSquaredDifference } from "../ops/arithmetic.js";
import { type ConvProblem, type ConvWay, choiceFits, pixelsOf, plainChoice, tunedKey } from "../ops/conv-choice.js";
import { sum } from "../ops/reduce.js";
import { Bench } from "./bench.js";
import { raggedCases, type TuningCase } from "./cases.js";

/**
 * Largest relative difference (L2) from the plain kernel: both add up to some 200,000 products in float32, in different order. A
 * single wrong value among 50 million shows as more.
 */
const BOUND = 1e-4;
/** Of products that are stored in float16: a sum near the middle of two such numbers may be rounded to either. */
const STORED_BOUND = 3e-4;
/** Units of f16 round operands to 11 bits; those of f32 round nothing. */
const HALVES_BOUND = 2e-3;

interface Check {
  readonly problem: ConvProblem;
  readonly bench: Bench;
  /** What the plain kernel makes, as float32, in memory that all programs of the bench have in common. */
  readonly expected: Tensor;
  readonly memory: GPUBuffer;
  /** Sum of its squares, once it was asked. */
  norm?: number;
}

export class Verifier {
  private readonly checks: Check[] = [];

  private constructor(private readonly device: Device) {}

  /** @param device best one with the driver's index clamps: what reads out of bounds then shows as a wrong number */
  static async open(device: Device, given: TuningCase): Promise<Verifier> {
    // Under another key the device would run no candidate, and find every one of them right.
    if (tunedKey(device.profile, given.problem) !== given.key)
      throw new Error(`${given.key} is not verified on a device that calls it otherwise`);
    const verifier = new Verifier(device);
    try {
      for (const c of [given, ...raggedCases(device.profile, given)]) verifier.checks.push(await checkOf(device, c));
      return verifier;
    } catch (error) {
      verifier.destroy();
      throw error;
    }
  }

  /**
   * Why a choice must not be used; null where it is right at every number of pixels at which it would be taken.
   * @throws when the plain kernel itself fails
   */
  async objection(choice: ConvWay): Promise<string | null> {
    const { profile } = this.device;
    for (const check of this.checks) {
      const { problem } = check;
      if (choice.kernel !== "winograd" && !choiceFits(profile, problem, choice)) continue;
      check.norm ??= await makeExpected(check, plainChoice(profile, problem));
      try {
        const error = Math.sqrt((await squaredDifference(check, choice)) / check.norm);
        // Not a number is no agreement either.
        if (!(error <= boundOf(profile, problem, choice)))
          return `is off by ${error.toExponential(1)} of the plain kernel's values at ${pixelsOf(problem)} pixels`;
      } catch (error) {
        return `does not run (${(error as Error).message})`;
      }
    }
    return null;
  }

  destroy(): void {
    for (const { bench } of this.checks) bench.destroy();
  }
}

function boundOf({ matrixUnits }: DeviceProfile, { halves }: ConvProblem, { kernel }: ConvWay): number {
  if ((kernel === "matrix" || kernel === "wide") && matrixUnits?.components === "f16") return HALVES_BOUND;
  return halves.includes("c") ? STORED_BOUND : BOUND;
}

async function checkOf(device: Device, given: TuningCase): Promise<Check> {
  const bench = await Bench.open(device, given);
  const expected = input("expected", bench.output.shape);
  try {
    return { problem: given.problem, bench, expected, memory: bench.share(expected) };
  } catch (error) {
    bench.destroy();
    throw error;
  }
}

const wide = ({ output }: Bench): Tensor => (output.dtype === "f16" ? apply(castOp, [output], "f32")[0] : output);

/** @returns the sum of its squares */
async function makeExpected({ bench, memory }: Check, plain: ConvWay): Promise<number> {
  const values = wide(bench);
  const program = await bench.compile(plain, { values, norm: sum(mul(values, values)) });
  try {
    const { norm } = await program.run({}, ["norm"]);
    const { buffer, byteOffset, copyBytes } = program.locate("values");
    const encoder = bench.device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, byteOffset, memory, 0, copyBytes);
    bench.device.gpu.queue.submit([encoder.finish()]);
    return norm[0];
  } finally {
    program.destroy();
  }
}

/** Of what a choice makes, in memory that held nothing before, from what is expected; summed on the GPU, as maps are large. */
async function squaredDifference({ bench, expected }: Check, choice: ConvWay): Promise<number> {
  const program = await bench.compile(choice, { error: sumSquaredDifference(wide(bench), expected) });
  try {
    return (await program.run({}, ["error"])).error[0];
  } finally {
    program.destroy();
  }
}
