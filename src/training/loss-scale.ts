/** The loss scale of a run whose gradients are rounded to float16: its memory, which outlives the step's program, and what is read back of it. */
import type { Device, DeviceProfile } from "../gpu/device.js";
import type { Precision } from "../graph/storage.js";
import { Block, type Tensor, variable } from "../graph/tensor.js";
import { usableUnits } from "../ops/conv-matrix.js";
import type { LossScaling } from "../ops/index.js";
import type { TrainConfig } from "./config.js";

/** Where a scale that follows the gradients starts. */
const FIRST_SCALE = 2 ** 16;

/**
 * Whether maps or operands, and with them gradients, are rounded to float16.
 * @param profile of the device whose matrix units are used, if any may be
 */
export function halves(profile: DeviceProfile | undefined, precision: Precision): boolean {
  return precision === "float16" || (profile !== undefined && usableUnits(profile)?.components === "f16");
}

/** How a run scales its loss; undefined where nothing is rounded (see `halves`), which needs no scale. */
export function lossScalingOf(scale: TrainConfig["lossScale"], rounded: boolean): LossScaling | undefined {
  if (!rounded) return undefined;
  return scale === "dynamic" ? { initial: FIRST_SCALE, dynamic: true } : { initial: scale, dynamic: false };
}

/** Scale, good steps in a row since it last changed, steps skipped, steps skipped in a row. */
export type LossScaleState = readonly [scale: number, good: number, skipped: number, skippedInARow: number];

export class LossScale {
  private readonly block = new Block("loss scale");
  readonly state: Tensor;
  /** The scale alone, [1]. */
  readonly scale: Tensor;

  constructor(readonly scaling: LossScaling) {
    this.block.bytes = 16;
    this.state = variable("lossScale", [4], this.block, 0);
    this.scale = variable("scale", [1], this.block, 0);
  }

  /** @param state where an earlier run stopped; by default the start */
  allocate(device: Device, state: LossScaleState = [this.scaling.initial, 0, 0, 0]): void {
    this.block.buffer ??= device.buffer(this.block.label, this.block.bytes, 0x80 | 0x4 | 0x8);
    device.gpu.queue.writeBuffer(this.block.buffer, 0, Float32Array.from(state));
  }

  destroy(device: Device): void {
    if (this.block.buffer) device.release(this.block.buffer);
    this.block.buffer = null;
  }
}
