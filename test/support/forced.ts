/** A device on which every convolution takes one choice, where that can be made at all. */
import type { Device } from "#src/gpu/device.js";
import type { ConvWay } from "#src/ops/conv-choice.js";

/** What `DeviceProfile.tuned` would be if every problem had been tuned and this had won. */
export function forced(choice: ConvWay): Record<string, ConvWay> {
  return new Proxy<Record<string, ConvWay>>({}, { get: () => choice });
}

export async function withForced<T>(device: Device, choice: ConvWay, run: () => Promise<T>): Promise<T> {
  const before = device.profile.tuned;
  device.useTuned(forced(choice));
  try {
    return await run();
  } finally {
    device.useTuned(before);
  }
}
