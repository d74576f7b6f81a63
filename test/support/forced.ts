/** A device on which every convolution takes one choice, where that can be made at all; and one that takes itself for a GPU. */
import type { Device, DeviceProfile } from "#src/gpu/device.js";
import type { ConvWay } from "#src/ops/conv-choice.js";

/** What `DeviceProfile.tuned` would be if every problem had been tuned and this had won. */
export function forced(choice: ConvWay): Record<string, ConvWay> {
  return new Proxy<Record<string, ConvWay>>({}, { get: () => choice });
}

export const withForced = <T>(device: Device, choice: ConvWay, run: () => Promise<T>): Promise<T> =>
  withProfile(device, { tuned: forced(choice) }, run);

/** Whatever adapter it is, ops give it the kernels that they have for GPUs. */
export const asGpu = <T>(device: Device, run: () => Promise<T>, changed: Partial<DeviceProfile> = {}): Promise<T> =>
  withProfile(device, { software: false, vendor: "nvidia", ...changed }, run);

/** The least that a kernel for gathers can hold: on others LLVM takes as many minutes as it holds more. */
const LITTLE = { elem: 1, tv: 1, aElem: 1, chunk: 24, unrolled: 1 } as const;

/** Whatever software adapter it is, ops give it the kernels that they have for those whose loads are gathers. */
export const asGathers = (device: Device, run: () => Promise<void>): Promise<void> => {
  const { software, subgroupSize, tuned } = device.profile;
  if (!software || tuned) return Promise.resolve();
  const little = { kernel: "stationary", tile: { ...LITTLE, lanes: subgroupSize } } as const;
  return withProfile(device, { gathers: true, tuned: forced(little) }, run);
};

async function withProfile<T>(device: Device, changed: Partial<DeviceProfile>, run: () => Promise<T>): Promise<T> {
  const before = device.profile;
  device.profile = { ...before, ...changed };
  try {
    return await run();
  } finally {
    device.profile = before;
  }
}
