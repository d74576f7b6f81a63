/** The kernels that MPN's programs are made of on a GPU, and how much of a program's work is theirs. Makes no GPU object. */
import { workload } from "#src/cli/bench/model.js";
import type { DeviceProfile } from "#src/gpu/device.js";
import { KernelCache, type KernelSpec } from "#src/gpu/kernel.js";
import { Lowering } from "#src/graph/lowering.js";
import { prepare } from "#src/graph/passes.js";
import { type Precision, storeHalves, storeRounded } from "#src/graph/storage.js";
import { reachable, type Tensor } from "#src/graph/tensor.js";
import type { ModelConfig } from "#src/models/config.js";
import { ParameterStore } from "#src/nn/parameters.js";

/** Vendors whose ladders of tiles differ, and the workgroup memory that their adapters offer. */
const WORKGROUP_BYTES = { nvidia: 49152, amd: 65536, intel: 32768, apple: 32768 } as const;
export type Vendor = keyof typeof WORKGROUP_BYTES;
export const VENDORS = Object.keys(WORKGROUP_BYTES) as Vendor[];

export interface ProgramCase {
  readonly mode: "infer" | "train";
  readonly batch: number;
  readonly precision: Precision;
  /** Whether products may be rounded for matrix units. */
  readonly matrixUnits: boolean;
}

/** A kernel in a program: how often it runs, and its share of the program's counted operations and bytes. */
export interface Use {
  readonly program: string;
  readonly dispatches: number;
  readonly flops: number;
  readonly bytes: number;
}

export interface UsedKernel {
  readonly spec: KernelSpec;
  readonly uses: Use[];
}

export const programName = ({ mode, batch, precision, matrixUnits }: ProgramCase): string =>
  `${mode} ${batch} ${precision}${matrixUnits ? " units" : ""}`;

/** An adapter on paper, as those of a vendor are, with the matrix units that the null device has. */
export function vendorProfile(vendor: Vendor): DeviceProfile {
  return {
    name: vendor,
    vendor,
    architecture: "",
    description: "",
    software: false,
    features: ["shader-f16", "subgroups"],
    subgroupSize: 32,
    maxBindingBytes: 2 ** 31,
    maxBufferBytes: 2 ** 31,
    workgroupBytes: WORKGROUP_BYTES[vendor],
    workgroupInvocations: 1024,
    matrixUnits: { components: "f16", m: 16, n: 16, k: 16, lanes: 32 },
  };
}

/** Distinct kernels of programs, in the order in which they first run. */
export function usedKernels(
  profile: DeviceProfile,
  config: ModelConfig,
  cases: readonly ProgramCase[],
): Map<string, UsedKernel> {
  const found = new Map<string, UsedKernel>();
  for (const one of cases) {
    const { graph } = workload(new ParameterStore(), { config, ...one });
    const outputs = Object.values(graph.outputs).filter((t): t is Tensor => t !== undefined);
    const given = "updates" in graph ? [...outputs, ...graph.updates] : prepare(outputs, profile);
    const on = one.matrixUnits ? profile : { ...profile, matrixUnits: undefined };
    const lowering = new Lowering(on);
    lowering.lower(reachable(storeRounded(one.precision === "float16" ? storeHalves(given) : given, on), on));
    const sum = (of: "flops" | "bytes") => lowering.launches.reduce((total, launch) => total + (launch[of] ?? 0), 0);
    const [flops, bytes] = [sum("flops"), sum("bytes")];
    const program = programName(one);
    for (const launch of lowering.launches) {
      const key = KernelCache.key(launch.kernel);
      const kernel = found.get(key) ?? { spec: launch.kernel, uses: [] };
      found.set(key, kernel);
      const before = kernel.uses.at(-1);
      const here = before?.program === program ? kernel.uses.pop()! : { dispatches: 0, flops: 0, bytes: 0 };
      kernel.uses.push({
        program,
        dispatches: here.dispatches + 1,
        flops: here.flops + (launch.flops ?? 0) / flops,
        bytes: here.bytes + (launch.bytes ?? 0) / bytes,
      });
    }
  }
  return found;
}

/** A kernel in a few words: its shader, what of its text is not the default, and the sizes it is made with. */
export function describeSpec({ shader, defines = {}, overrides = {} }: KernelSpec): string {
  const said = Object.entries(defines).flatMap(([name, value]) =>
    value === false
      ? []
      : value === true
        ? [name.toLowerCase()]
        : [`${name}=${String(value).replace("vec4<", "4").replace(">", "")}`],
  );
  const sizes = Object.entries(overrides).map(([name, value]) => `${name}=${value}`);
  return [shader, ...said.sort(), ...sizes.sort()].join(" ");
}
