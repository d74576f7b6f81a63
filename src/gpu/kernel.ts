/** Compute pipelines with explicit layouts, cached by final text and constants. */
import type { Device } from "./device.js";
import { type Defines, preprocess, reflectShader, type ShaderModule, type ShaderName } from "./shader.js";

export interface KernelSpec {
  readonly shader: ShaderName;
  readonly defines?: Defines;
  /** Values of the shader's `override` constants. */
  readonly overrides?: Readonly<Record<string, number>>;
  readonly entryPoint?: string;
}

export interface Kernel {
  readonly key: string;
  readonly spec: KernelSpec;
  readonly module: ShaderModule;
  readonly layout: GPUBindGroupLayout;
  readonly pipeline: GPUComputePipeline;
}

/** The pipelines of one device. Modules and layouts are shared between pipelines of the same text. */
export class KernelCache {
  private readonly kernels = new Map<string, Promise<Kernel>>();
  private readonly modules = new Map<
    string,
    { reflected: ShaderModule; module: GPUShaderModule; layout: GPUBindGroupLayout }
  >();
  /** Milliseconds spent until pipelines were ready, compilation included. */
  compileMs = 0;

  constructor(readonly device: Device) {}

  get size(): number {
    return this.kernels.size;
  }

  static key(spec: KernelSpec): string {
    return JSON.stringify([spec.shader, spec.entryPoint ?? "main", sorted(spec.defines), sorted(spec.overrides)]);
  }

  /** Compiles, or returns the pipeline made earlier. Rejects with the compiler's message, file and defines. */
  get(spec: KernelSpec): Promise<Kernel> {
    const key = KernelCache.key(spec);
    let kernel = this.kernels.get(key);
    if (!kernel) {
      kernel = this.compile(spec, key);
      this.kernels.set(key, kernel);
      // What failed is tried again, as after memory ran out.
      kernel.catch(() => this.kernels.delete(key));
    }
    return kernel;
  }

  private async compile(spec: KernelSpec, key: string): Promise<Kernel> {
    const started = performance.now();
    const gpu = this.device.gpu;
    const text = preprocess(spec.shader, spec.defines ?? {});
    let shared = this.modules.get(text);
    if (!shared) {
      const reflected = reflectShader(text, spec.shader);
      const module = gpu.createShaderModule({ code: text, label: spec.shader });
      const layout = gpu.createBindGroupLayout({
        label: spec.shader,
        entries: reflected.bindings.map((b) => ({ binding: b.index, visibility: 4, buffer: { type: b.type } })),
      });
      shared = { reflected, module, layout };
      this.modules.set(text, shared);
    }
    try {
      const pipeline = await this.device.wait(
        gpu.createComputePipelineAsync({
          label: spec.shader,
          layout: gpu.createPipelineLayout({ bindGroupLayouts: [shared.layout] }),
          compute: { module: shared.module, entryPoint: spec.entryPoint ?? "main", constants: { ...spec.overrides } },
        }),
      );
      this.device.objectsMade++;
      this.compileMs += performance.now() - started;
      return { key, spec, module: shared.reflected, layout: shared.layout, pipeline };
    } catch (error) {
      const messages = (await shared.module.getCompilationInfo()).messages;
      const where = messages.map(
        (m) => `  line ${m.lineNum}: ${m.message}  | ${text.split("\n")[m.lineNum - 1] ?? ""}`,
      );
      throw new Error(
        `shaders/${spec.shader}.wgsl does not compile with ${key}: ${String(error)}\n${where.join("\n")}`,
      );
    }
  }
}

function sorted(record: Readonly<Record<string, unknown>> | undefined): unknown {
  return Object.entries(record ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}
