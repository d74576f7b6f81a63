import type { DeviceProfile } from "#src/gpu/device.js";

/** An adapter that exists on paper, for what is decided without a GPU. */
export function paperProfile(given: Partial<DeviceProfile> = {}): DeviceProfile {
  return {
    name: "paper",
    vendor: "",
    architecture: "",
    description: "",
    software: true,
    features: [],
    subgroupSize: 0,
    maxBindingBytes: 2 ** 31,
    maxBufferBytes: 2 ** 31,
    workgroupBytes: 16384,
    workgroupInvocations: 256,
    ...given,
  };
}
