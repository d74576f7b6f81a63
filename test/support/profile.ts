import type { DeviceProfile, MatrixUnits } from "#src/gpu/device.js";

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

/** Units that exist on paper: matrices of m x k by k x n, square by default, in subgroups of 32. */
export function paperUnits(
  m: number,
  { components = "f16", n = m, k = m, lanes = 32 }: Partial<MatrixUnits> = {},
): MatrixUnits {
  return { components, m, n, k, lanes };
}
