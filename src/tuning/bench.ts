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
    try {
      for (const [seed, t] of bench.inputs.entries()) await bench.fill(t, seed);
      return bench;
    } catch (error) {
      bench.destroy();
      throw error;
    }
  }

  private async fill(t: Tensor, seed: number): Promise<void> {
    const { device } = this;
    const buffer = this.share(t);
    const values = noise(t.size, seed);
    if (t.dtype === "f32") return device.gpu.queue.writeBuffer(buffer, 0, values);
    const wide = input("values", t.shape);
    const [narrow] = apply(castOp, [wide], "f16");
    const program = await Program.compile(device, { outputs: { narrow }, buffers: new Map([[narrow, buffer]]) });
    await program.run({ values });
    program.destroy();
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
   * @param output the node's, or what is made from it
   */
  async compile(choice: ConvWay, output: Tensor): Promise<Program> {
    const { device, key, within, buffers } = this;
    const before = device.profile.tuned;
    device.useTuned({ ...before, ...within, [key]: choice });
    try {
      return await Program.compile(device, { outputs: { output }, buffers });
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

function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  const rng = seededRng(seed);
  return Float32Array.from({ length: count }, () => uniform(rng, -1, 1));
}
