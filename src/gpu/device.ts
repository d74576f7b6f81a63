/**
 * The GPU device: opens an adapter (Dawn in Node, `navigator.gpu` in a browser) or wraps a caller's device,
 * keeps the errors that WebGPU reports out of band, and waits without stealing a core from software adapters.
 */
import { UserError } from "../errors.js";
import { KernelCache } from "./kernel.js";

/** What the rest of the engine may know of the adapter: plain data, so that choices can be tested without a GPU. */
export interface DeviceProfile {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** lavapipe, SwiftShader, WARP: the CPU pretends to be a GPU. */
  readonly software: boolean;
  /** Software that loads from storage by the CPU's gathers, which take as long whatever they load, and not lane by lane. */
  readonly gathers?: boolean;
  readonly features: readonly string[];
  /** Lanes of a subgroup; 0 where there are none, or not always as many. */
  readonly subgroupSize: number;
  /** Bytes that one binding may span. */
  readonly maxBindingBytes: number;
  readonly maxBufferBytes: number;
  /** Bytes of memory that a workgroup may share, and its most invocations. */
  readonly workgroupBytes: number;
  readonly workgroupInvocations: number;
  /** Products of matrices that subgroups make by themselves, where the device was opened for them. */
  readonly matrixUnits?: MatrixUnits;
  /** Choices of kernels found by measuring on this adapter, by problem; ops look theirs up and check what they find. */
  readonly tuned?: Readonly<Record<string, TunedChoice>>;
}

/** Products of m x k by k x n matrices, whose elements are rounded to `components`; sums are f32. */
export interface MatrixUnits {
  readonly components: "f16" | "f32";
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of the subgroups that multiply. Where `subgroupSize` is 0, kernels ask for as many. */
  readonly lanes: number;
}

/** A kernel by the name that its op gives it, and the sizes it is made with. */
export interface TunedChoice {
  readonly kernel: string;
  readonly tile: object;
}

export interface OpenOptions {
  /**
   * Keep Dawn's index clamps. Off by default: kernels check their own bounds, and the clamps cost up to a third. "default" is Dawn's own
   * way, which leaves it to drivers that promise to drop accesses out of bounds; those then go unnoticed, as what is read there is 0.
   */
  readonly robust?: boolean | "default";
  /** `null` is Dawn's backend without a device: it compiles every shader and runs nothing. */
  readonly backend?: "null";
  readonly powerPreference?: GPUPowerPreference;
  /** Let convolutions round their operands to what the adapter's matrix units multiply (f16); nothing where it has none. */
  readonly matrixUnits?: boolean;
}

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|softpipe|warp|basic render/i;
/**
 * Whether an adapter that says this of itself is lavapipe of Mesa 26 or newer on a CPU with gathers (AVX2, or AVX-512). 25.0 loads lane
 * by lane; of what came in between nothing is measured.
 */
export const loadsByGathers = (said: string): boolean =>
  /llvmpipe.*(256|512)[ -]bits/i.test(said) && Number(/\bMesa (\d+)\./.exec(said)?.[1] ?? 0) >= 26;
const OPTIONAL_FEATURES = ["timestamp-query", "shader-f16", "subgroups"] as const;
/** Not yet in the types: Dawn's, and what lets a kernel ask for the size of its subgroups. */
const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix" as GPUFeatureName;
const SIZES_FEATURE = "subgroup-size-control" as GPUFeatureName;

/** Floats written at once: in larger pieces Dawn allots memory to each. */
const PIECE = 256 * 1024;

/** Dawn crashes or hangs when the object that `create()` returns is collected while a device lives. */
const keepAlive: unknown[] = [];

export class Device {
  /** Of programs compiled from now on; see `useTuned`. */
  profile: DeviceProfile;
  readonly kernels: KernelCache;
  private readonly errors: string[] = [];
  private lostReason: string | null = null;
  /** GPU promises that `wait` is asked for now. */
  private awaited = 0;
  private napping = false;
  /** Floats uploaded since the last submission. */
  private staged = 0;
  /** Buffers, bind groups and pipelines made so far: a steady state makes none. */
  objectsMade = 0;
  /** Bytes of buffers alive now, and the most there were. */
  bufferBytes = 0;
  peakBufferBytes = 0;

  private constructor(
    readonly gpu: GPUDevice,
    readonly adapterInfo: GPUAdapterInfo,
    features: Iterable<string>,
  ) {
    const { vendor, architecture, device, description } = adapterInfo;
    // Browsers leave device and description empty.
    const name = device || description || `${vendor} ${architecture}`.trim() || "unknown adapter";
    const { subgroupMinSize: smallest, subgroupMaxSize: largest } = adapterInfo;
    const said = `${device} ${description} ${vendor} ${architecture}`;
    this.profile = {
      name,
      vendor,
      architecture,
      description,
      software: adapterInfo.isFallbackAdapter || SOFTWARE.test(said),
      gathers: loadsByGathers(said),
      features: [...features],
      subgroupSize: gpu.features.has("subgroups") && smallest === largest ? (smallest ?? 0) : 0,
      maxBindingBytes: gpu.limits.maxStorageBufferBindingSize,
      maxBufferBytes: gpu.limits.maxBufferSize,
      workgroupBytes: gpu.limits.maxComputeWorkgroupStorageSize,
      workgroupInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
      ...(gpu.features.has(MATRIX_FEATURE) && { matrixUnits: matrixUnitsOf(adapterInfo, gpu.features) }),
    };
    this.kernels = new KernelCache(this);
    gpu.addEventListener("uncapturederror", (event) => {
      this.errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
    void gpu.lost.then((info) => {
      if (info.reason !== "destroyed") this.lostReason = info.message || "unknown reason";
    });
  }

  /** Opens the best adapter there is, with its own limits instead of WebGPU's defaults. Throws UserError without one. */
  static async open(options: OpenOptions = {}): Promise<Device> {
    const gpu = await entryPoint(options);
    const adapter = await gpu.requestAdapter({ powerPreference: options.powerPreference ?? "high-performance" });
    if (!adapter) {
      throw new UserError(
        "No WebGPU adapter was found. Looked for a GPU driver (Vulkan, Metal or D3D12) through Dawn. " +
          "On Linux install your GPU's Vulkan driver, or run `npm start` once in the project: it sets up a software adapter.",
      );
    }
    const limits: Record<string, number> = {};
    for (const key of [
      "maxStorageBufferBindingSize",
      "maxBufferSize",
      "maxStorageBuffersPerShaderStage",
      "maxComputeWorkgroupStorageSize",
      "maxComputeInvocationsPerWorkgroup",
      "maxComputeWorkgroupSizeX",
      "maxComputeWorkgroupsPerDimension",
    ] as const) {
      limits[key] = adapter.limits[key];
    }
    const wanted = options.matrixUnits ? [...OPTIONAL_FEATURES, MATRIX_FEATURE, SIZES_FEATURE] : OPTIONAL_FEATURES;
    const features = wanted.filter((f) => adapter.features.has(f));
    const device = await adapter.requestDevice({ requiredLimits: limits, requiredFeatures: features });
    return new Device(device, adapter.info, adapter.features);
  }

  /** Uses a device that belongs to the caller's own program; `close()` then leaves it alone. */
  static wrap(gpu: GPUDevice): Device {
    const device = new Device(gpu, gpu.adapterInfo, gpu.features);
    device.close = () => {};
    return device;
  }

  /** Programs compiled from now on take these choices where they can; those of another adapter cost speed, not correctness. */
  useTuned(tuned: DeviceProfile["tuned"]): void {
    this.profile = { ...this.profile, tuned };
  }

  /** Throws what WebGPU reported since the last call: validation errors do not throw by themselves. */
  check(doing: string): void {
    if (this.lostReason !== null) throw new Error(`The GPU device was lost while ${doing}: ${this.lostReason}`);
    const first = this.errors[0];
    if (first !== undefined) {
      this.errors.length = 0;
      if (/out of memory/i.test(first)) {
        throw new UserError(
          `The adapter ${this.profile.name} ran out of memory while ${doing}; use a smaller batch. (${first})`,
        );
      }
      throw new Error(`WebGPU error while ${doing}: ${first}`);
    }
  }

  /** A buffer of zeros; `release` it when done, as Dawn frees dropped buffers only under memory pressure. */
  buffer(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    if (size > this.profile.maxBufferBytes) {
      throw new UserError(
        `${label} takes ${size} bytes; a buffer of ${this.profile.name} holds ${this.profile.maxBufferBytes}.`,
      );
    }
    this.objectsMade++;
    this.bufferBytes += size;
    this.peakBufferBytes = Math.max(this.peakBufferBytes, this.bufferBytes);
    return this.gpu.createBuffer({ label, size, usage });
  }

  /**
   * On a software adapter, whose GPU is another thread, has it write zeros to buffers while the CPU goes on: the pages of fresh memory,
   * which take longer to get than to fill, then cost whoever writes first nothing.
   */
  touch(buffers: readonly GPUBuffer[]): void {
    if (!this.profile.software) return;
    const encoder = this.gpu.createCommandEncoder();
    for (const buffer of buffers) encoder.clearBuffer(buffer);
    this.gpu.queue.submit([encoder.finish()]);
  }

  /** Writes values that may be many, in pieces for which Dawn uses its staging memory again and again. */
  upload(buffer: GPUBuffer, byteOffset: number, data: Float32Array<ArrayBuffer>): void {
    for (let at = 0; at < data.length; at += PIECE) {
      const piece = data.subarray(at, at + PIECE);
      this.gpu.queue.writeBuffer(buffer, byteOffset + 4 * at, piece);
      this.staged += piece.length;
      // Only what was submitted can be done, and its staging memory free.
      if (this.staged < PIECE) continue;
      this.gpu.queue.submit([]);
      this.staged = 0;
    }
  }

  release(buffer: GPUBuffer): void {
    this.bufferBytes -= buffer.size;
    buffer.destroy();
  }

  bindGroup(descriptor: GPUBindGroupDescriptor): GPUBindGroup {
    this.objectsMade++;
    return this.gpu.createBindGroup(descriptor);
  }

  /**
   * Awaits a GPU promise. While one is pending Dawn's Node binding polls from `setImmediate`, a busy loop that takes
   * one core; on a software adapter that core does the work, so every turn of the loop sleeps about a millisecond.
   */
  async wait<T>(promise: Promise<T>): Promise<T> {
    if (!this.profile.software || typeof setImmediate === "undefined") return promise;
    this.awaited++;
    this.nap();
    try {
      return await promise;
    } finally {
      this.awaited--;
    }
  }

  /** Sleeps between turns of the loop, one nap a turn however many promises are awaited, until none is. */
  private nap(): void {
    if (this.napping) return;
    this.napping = true;
    // Made here: a page that is not cross-origin isolated has no SharedArrayBuffer.
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    const turn = () => {
      this.napping = this.awaited > 0;
      if (!this.napping) return;
      Atomics.wait(sleeper, 0, 0, 1);
      setImmediate(turn);
    };
    setImmediate(turn);
  }

  /** Resolves when the work submitted so far is done. */
  async idle(): Promise<void> {
    await this.wait(this.gpu.queue.onSubmittedWorkDone());
    this.check("waiting for the GPU");
  }

  close: () => void = () => this.gpu.destroy();
}

async function entryPoint(options: OpenOptions): Promise<GPU> {
  const browser = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (browser && options.backend === undefined) return browser;
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  // The second: shader-f16, and with it matrices of f16, where Dawn holds it back for tests that NVIDIA's driver fails.
  const enable = ["disable_workgroup_init", "vulkan_enable_f16_on_nvidia"];
  if (!options.robust) enable.push("disable_robustness");
  if (options.matrixUnits) enable.push("allow_unsafe_apis");
  const disable = ["timestamp_quantization"];
  if (options.robust === true) disable.push("vulkan_use_buffer_robust_access_2");
  const flags = [`enable-dawn-features=${enable.join(",")}`, `disable-dawn-features=${disable.join(",")}`];
  if (options.backend) flags.push(`backend=${options.backend}`);
  const gpu = create(flags);
  keepAlive.push(gpu);
  return gpu;
}

/**
 * What the kernels multiply with (shaders/conv_matrix.wgsl): of the matrices whose sums are f32 and whose sides are 8, 16 or 32 those of
 * f16 before those of f32, then those that make the most of one instruction, then the first that the adapter names. Where subgroups
 * vary in size, the smallest is asked for: it is the width of the units themselves (32 of RDNA's 32 or 64, 8 or 16 of Intel's up to 32).
 * @returns undefined where there are none, or none whose subgroups are known
 */
export function matrixUnitsOf(info: object, features: ReadonlySet<string>): MatrixUnits | undefined {
  const { subgroupMinSize: lanes = 0, subgroupMaxSize, subgroupMatrixConfigs } = info as MatrixInfo;
  if (!features.has("subgroups") || lanes === 0) return undefined;
  if (lanes !== subgroupMaxSize && !features.has(SIZES_FEATURE)) return undefined;
  const sides = ({ M, N, K }: MatrixConfig) => [M, N, K];
  const suits = (components: string) => (c: MatrixConfig) =>
    c.componentType === components &&
    c.resultComponentType === "f32" &&
    sides(c).every((side) => [8, 16, 32].includes(side));
  const work = (c: MatrixConfig) => sides(c).reduce((product, side) => product * side);
  for (const components of features.has("shader-f16") ? (["f16", "f32"] as const) : (["f32"] as const)) {
    const [best] = [...(subgroupMatrixConfigs ?? [])].filter(suits(components)).sort((a, b) => work(b) - work(a));
    if (best) return { components, m: best.M, n: best.N, k: best.K, lanes };
  }
  return undefined;
}

interface MatrixInfo {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<MatrixConfig>;
}

interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}
