import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { castOp } from "../graph/storage.js";
import { apply, input, type Node, type Tensor } from "../graph/tensor.js";
import type { ConvWay } from "../ops/conv-choice.js";
import { seededRng, uniform } from "../random.js";
import type { TuningCase } from "./cases.js";

const STORAGE_AND_COPIES = 0x8c;

/** The node of a case, alone on a device, with inputs of noise that all its programs share. */
export class Bench {
  /** What the node makes (a convolution has one output), stored as in its graph. */
  readonly output: Tensor;
  private readonly inputs: readonly Tensor[];
  private readonly buffers = new Map<Tensor, GPUBuffer>();

  private constructor(
    readonly device: Device,
    private readonly key: string,
    private readonly within: TuningCase["within"],
    { op, inputs, attrs, outputs }: Node,
  ) {
    this.inputs = inputs.map((t, i) => input(`input ${i}`, t.shape, t.dtype));
    [this.output] = apply(op, this.inputs, attrs, (i) => outputs[i].dtype === "f16");
  }

  static async open(device: Device, { key, within, node }: TuningCase): Promise<Bench> {
    const bench = new Bench(device, key, within, node);
    const block = noiseBlock(device);
    try {
      for (const [i, t] of bench.inputs.entries()) await bench.fill(t, block, i);
      return bench;
    } catch (error) {
      bench.destroy();
      throw error;
    } finally {
      device.release(block);
    }
  }

  /** Repeats the block, from another place for each input. */
  private async fill(t: Tensor, block: GPUBuffer, number: number): Promise<void> {
    const { device } = this;
    const buffer = this.share(t);
    const wide = t.dtype === "f32" ? buffer : device.buffer("values", 4 * t.size, STORAGE_AND_COPIES);
    const encoder = device.gpu.createCommandEncoder();
    let from = number * 4 * SHIFT;
    for (let at = 0; at < 4 * t.size; ) {
      const bytes = Math.min(4 * BLOCK - from, 4 * t.size - at);
      encoder.copyBufferToBuffer(block, from, wide, at, bytes);
      at += bytes;
      from = 0;
    }
    device.gpu.queue.submit([encoder.finish()]);
    if (wide === buffer) return;
    const values = input("values", t.shape);
    const [narrow] = apply(castOp, [values], "f16");
    const buffers = new Map([
      [values, wide],
      [narrow, buffer],
    ]);
    const program = await Program.compile(device, { outputs: { narrow }, buffers });
    await program.run({}, []);
    await device.idle();
    program.destroy();
    device.release(wide);
  }

  /** Gives a tensor memory that programs compiled from now on have in common. */
  share(t: Tensor): GPUBuffer {
    const buffer = this.device.buffer(t.name, t.bytes, STORAGE_AND_COPIES);
    this.buffers.set(t, buffer);
    return buffer;
  }

  /**
   * A program in which the case's problem is solved by a choice, everything else as the device would now. The device's choices are as
   * before afterwards.
   * @param outputs the node's, or what is made from it
   */
  async compile(choice: ConvWay, outputs: Readonly<Record<string, Tensor>>): Promise<Program> {
    const { device, key, within, buffers } = this;
    const before = device.profile.tuned;
    device.useTuned({ ...before, ...within, [key]: choice });
    try {
      return await Program.compile(device, { outputs, buffers });
    } catch (error) {
      // What WebGPU still has to say of it must not be laid at the next one's door.
      await device.idle().catch(() => {});
      throw error;
    } finally {
      device.useTuned(before);
    }
  }

  destroy(): void {
    for (const buffer of this.buffers.values()) this.device.release(buffer);
  }
}

/** Inputs are noise again and again: so many numbers are drawn, a prime, so that no stride of a map falls into step with them. */
const BLOCK = 1048573;
/** How far into the block each input begins after the one before it; a convolution has five at most. */
const SHIFT = 100003;

function noiseBlock(device: Device): GPUBuffer {
  const rng = seededRng(1);
  const values = Float32Array.from({ length: BLOCK }, () => uniform(rng, -1, 1));
  const block = device.buffer("noise", 4 * BLOCK, STORAGE_AND_COPIES);
  device.gpu.queue.writeBuffer(block, 0, values);
  return block;
}
