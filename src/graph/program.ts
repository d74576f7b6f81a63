/**
 * A compiled graph: prepared pipelines, bind groups and memory. A run writes inputs, replays the dispatches in one
 * command buffer and reads back what was asked; it makes no buffer, bind group or pipeline.
 */
import { UserError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import type { Kernel } from "../gpu/kernel.js";
import { packParams } from "../gpu/shader.js";
import { Lowering } from "./lowering.js";
import { hoist, prepare, updatesEarly } from "./passes.js";
import { type Plan, planMemory, resolve } from "./plan.js";
import { Profile } from "./profile.js";
import { type Prepared, record, recordAlone } from "./recording.js";
import { type Precision, requireHalves, storeHalves, storeRounded } from "./storage.js";
import { type Node, reachable, type Tensor } from "./tensor.js";

export type Values = Float32Array | Uint32Array | Int32Array;
type Typed = Values | Uint8Array;

export interface CompileOptions {
  /** What may be read back, by name. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Tensors computed for their effect: the optimiser's step, running statistics. */
  readonly updates?: readonly Tensor[];
  /** Compute what depends on variables alone once, until `refresh()`; for inference. */
  readonly hoist?: boolean;
  /**
   * How feature maps and their gradients lie in memory; "float32" by default. "float16" wants an adapter with shader-f16.
   * Outputs are float32 either way.
   */
  readonly precision?: Precision;
  /**
   * The caller's own buffers for inputs and outputs (usage STORAGE), so that nothing is copied. Kernels work on 16 bytes at a
   * time, so that a buffer has as many as its tensor, rounded up to a multiple of 16; what the last ones hold then is undefined.
   */
  readonly buffers?: ReadonlyMap<Tensor, GPUBuffer>;
  /** Whether products may be made by the matrix units that the device was opened for; true by default. */
  readonly matrixUnits?: boolean;
  /** Batch size, to advise one that fits when a tensor exceeds the adapter's limits. */
  readonly batch?: number;
}

export interface MemoryReport {
  /** Bytes of the plan's slots. */
  readonly intermediates: number;
  /** The least any plan could use for intermediates: bytes live at the worst moment. */
  readonly live: number;
  readonly inputs: number;
  readonly constants: number;
  /** Parameters, momenta, statistics that this program touches. */
  readonly variables: number;
}

const STORAGE = 0x80;
const UNIFORM = 0x40;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const MAP_READ = 0x1;

export class Program {
  private once: Prepared[] = [];
  private body: Prepared[] = [];
  private fresh = false;
  private readonly owned: GPUBuffer[] = [];
  private readonly buffers = new Map<Tensor, GPUBuffer>();
  /** Where in its buffer a tensor begins that does not have it to itself. */
  private readonly starts = new Map<Tensor, number>();
  private readonly staging: { bytes: number; buffer: GPUBuffer }[] = [];
  private plan!: Plan;
  memory!: MemoryReport;

  private constructor(
    private readonly device: Device,
    private readonly outputs: Readonly<Record<string, Tensor>>,
    private readonly inputs: ReadonlyMap<string, Tensor>,
  ) {}

  /** Lowers, plans memory, compiles pipelines (all at once) and prepares every bind group. */
  static async compile(device: Device, options: CompileOptions): Promise<Program> {
    const given = [...Object.values(options.outputs), ...(options.updates ?? [])];
    const halves = options.precision === "float16";
    if (halves) requireHalves(device);
    const ready = options.hoist ? prepare(given, device.profile) : given;
    const profile = options.matrixUnits === false ? { ...device.profile, matrixUnits: undefined } : device.profile;
    const roots = storeRounded(halves ? storeHalves(ready) : ready, profile);
    const prepared = new Map(given.map((t, i) => [t, roots[i]]));
    const outputs = Object.fromEntries(Object.entries(options.outputs).map(([name, t]) => [name, prepared.get(t)!]));
    const buffers = new Map([...(options.buffers ?? [])].map(([t, buffer]) => [prepared.get(t) ?? t, buffer]));
    const nodes = reachable(roots, profile);
    const { once, values } = options.hoist ? hoist(nodes) : { once: new Set<unknown>(), values: [] };
    const ordered = [...nodes.filter((n) => once.has(n)), ...updatesEarly(nodes.filter((n) => !once.has(n)))];
    const lowering = new Lowering(profile);
    lowering.lower(ordered);
    // The driver's threads compile while memory is planned.
    const kernels = lowering.launches.map(({ kernel }) => device.kernels.get(kernel));

    const program = new Program(device, outputs, findInputs(nodes, roots));
    const plan = planMemory(lowering, [...Object.values(outputs), ...values], device.profile, options.batch);
    program.plan = plan;
    try {
      program.allocate(plan, nodes, roots, buffers);
      program.prepare(lowering, await Promise.all(kernels), once);
      device.check("preparing a program");
      return program;
    } catch (error) {
      program.destroy();
      throw error;
    }
  }

  /** Number of dispatches of a run. */
  get dispatches(): number {
    return this.body.length;
  }

  /** Distinct pipelines that the program uses. */
  get pipelines(): number {
    return new Set([...this.once, ...this.body].map((p) => p.pipeline)).size;
  }

  get flops(): number {
    return this.body.reduce((sum, p) => sum + (p.launch.flops ?? 0), 0);
  }

  /** Whether the program reads an input of this name. */
  takes(name: string): boolean {
    return this.inputs.has(name);
  }

  /** Writes inputs. Unknown names and wrong lengths are errors. */
  feed(values: Readonly<Record<string, Typed>>): void {
    for (const [name, data] of Object.entries(values)) {
      const t = this.inputs.get(name);
      if (!t)
        throw new Error(`The program has no input ${name}; it has ${[...this.inputs.keys()].join(", ") || "none"}`);
      if (data.byteLength > t.bytes || (data.byteLength < t.bytes && !(data instanceof Uint8Array))) {
        throw new Error(`Input ${t} takes ${t.bytes} bytes, got ${data.byteLength}`);
      }
      this.write(this.buffers.get(t)!, data);
    }
  }

  private write(buffer: GPUBuffer, data: Typed): void {
    if (data.byteLength % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
      padded.set(data as Uint8Array);
      data = padded;
    }
    this.device.gpu.queue.writeBuffer(buffer, 0, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  }

  /** The variables changed: hoisted values are computed again with the next run. */
  refresh(): void {
    this.fresh = false;
  }

  /** Records a run into the caller's own encoder. Inputs must have been fed or be the caller's buffers. */
  encode(encoder: GPUCommandEncoder): void {
    const pass = encoder.beginComputePass({ label: "mpn-webgpu" });
    if (!this.fresh) for (const p of this.once) record(pass, p);
    this.fresh = true;
    for (const p of this.body) record(pass, p);
    pass.end();
  }

  /** Feeds, runs and, where `read` names outputs, resolves to their values once the GPU is done; do not wait on it to go on. */
  run<K extends string = never>(
    feeds: Readonly<Record<string, Typed>> = {},
    read: readonly K[] = [],
  ): Promise<Record<K, Values>> {
    this.feed(feeds);
    const encoder = this.device.gpu.createCommandEncoder();
    this.encode(encoder);
    const parts = read.map((name) => this.locate(name));
    const total = parts.reduce((sum, p) => sum + p.copyBytes, 0);
    if (total === 0) {
      this.device.gpu.queue.submit([encoder.finish()]);
      return Promise.resolve({} as Record<K, Values>);
    }
    const staging = this.takeStaging(total);
    let at = 0;
    for (const p of parts) {
      encoder.copyBufferToBuffer(p.buffer, p.byteOffset, staging.buffer, at, p.copyBytes);
      at += p.copyBytes;
    }
    this.device.gpu.queue.submit([encoder.finish()]);
    return this.collect(read, parts, staging);
  }

  private async collect<K extends string>(
    read: readonly K[],
    parts: readonly { tensor: Tensor; copyBytes: number }[],
    staging: { bytes: number; buffer: GPUBuffer },
  ): Promise<Record<K, Values>> {
    await this.device.wait(staging.buffer.mapAsync(MAP_READ));
    const all = staging.buffer.getMappedRange();
    const result = {} as Record<K, Values>;
    let at = 0;
    parts.forEach((p, i) => {
      const bytes = all.slice(at, at + p.tensor.bytes);
      const { dtype } = p.tensor;
      result[read[i]] =
        dtype === "f32" ? new Float32Array(bytes) : dtype === "u32" ? new Uint32Array(bytes) : new Int32Array(bytes);
      at += p.copyBytes;
    });
    staging.buffer.unmap();
    this.staging.push(staging);
    this.device.check("running a program");
    return result;
  }

  private takeStaging(bytes: number): { bytes: number; buffer: GPUBuffer } {
    const i = this.staging.findIndex((s) => s.bytes >= bytes);
    if (i >= 0) return this.staging.splice(i, 1)[0];
    const buffer = this.device.buffer("readback", bytes, MAP_READ | COPY_DST);
    this.owned.push(buffer);
    return { bytes, buffer };
  }

  /** The buffer and range that hold an output, for a caller who goes on with it on the GPU. */
  locate(name: string): { tensor: Tensor; buffer: GPUBuffer; byteOffset: number; copyBytes: number } {
    const tensor = this.outputs[name];
    if (!tensor) throw new Error(`The program has no output ${name}; it has ${Object.keys(this.outputs).join(", ")}`);
    return { tensor, ...this.range(tensor), copyBytes: tensor.bytes };
  }

  /** Runs once with a timestamp around every dispatch (where the adapter has them). */
  async profile(feeds: Readonly<Record<string, Typed>> = {}): Promise<Profile> {
    this.feed(feeds);
    return Program.profileAll(this.device, [this]);
  }

  /** Runs programs one after the other in one submission, so that the GPU has no pause in which its clocks would fall. */
  static profileAll(device: Device, programs: readonly Program[]): Promise<Profile> {
    const launches = programs.flatMap(({ body }) => body.map((p) => p.launch));
    const profile = new Profile(device, launches.length);
    const encoder = device.gpu.createCommandEncoder();
    let at = 0;
    for (const program of programs) {
      for (const p of program.once) recordAlone(encoder, p);
      for (const p of program.body) recordAlone(encoder, p, profile.timestamps(at++));
    }
    return profile.finish(encoder, launches);
  }

  /** Frees the program's memory; variables and the caller's buffers stay. */
  destroy(): void {
    for (const b of this.owned) this.device.release(b);
    this.owned.length = 0;
  }

  private allocate(
    plan: Plan,
    nodes: readonly Node[],
    roots: readonly Tensor[],
    theirs: ReadonlyMap<Tensor, GPUBuffer>,
  ): void {
    const own = (label: string, bytes: number, extra = 0) => {
      const buffer = this.device.buffer(label, bytes, STORAGE | COPY_SRC | COPY_DST | extra);
      this.owned.push(buffer);
      return buffer;
    };
    for (const [t, { size }] of theirs) {
      const wanted = boundBytes(t);
      if (size < wanted)
        throw new UserError(
          `The buffer for ${t} holds ${size} bytes; make it ${wanted}, a multiple of 16, of which ${t.bytes} are its values.`,
        );
    }
    const outputRoots = new Map<Tensor, GPUBuffer>();
    for (const t of Object.values(this.outputs)) {
      const buffer = theirs.get(t);
      const placement = plan.placement.get(t);
      if (!buffer) continue;
      if (!placement || placement.root !== t)
        throw new Error(`Output ${t} shares memory; it cannot be written to a caller's buffer`);
      outputRoots.set(t, buffer);
    }
    const leaves = new Set([...nodes.flatMap((n) => n.inputs), ...roots].filter((t) => t.leaf));
    let inputs = 0;
    let constants = 0;
    const blocks = new Set<object>();
    let variables = 0;
    for (const t of leaves) {
      const leaf = t.leaf!;
      if (leaf.kind === "input") {
        const buffer = theirs.get(t) ?? own(t.name, t.bytes);
        this.buffers.set(t, buffer);
        inputs += buffer.size;
      } else if (leaf.kind === "constant") {
        const buffer = own(t.name, t.bytes);
        this.write(buffer, leaf.data);
        this.buffers.set(t, buffer);
        constants += buffer.size;
      } else if (leaf.kind === "variable") {
        if (!leaf.block.buffer) throw new Error(`Variable ${t} has no memory yet: allocate its store before compiling`);
        this.buffers.set(t, leaf.block.buffer);
        this.starts.set(t, leaf.byteOffset);
        if (!blocks.has(leaf.block)) variables += leaf.block.bytes;
        blocks.add(leaf.block);
      }
    }
    const slots = plan.slotBytes.map((bytes, i) => {
      const lodgers = [...plan.slotOf].filter(([, { slot }]) => slot === i);
      return lodgers.every(([t]) => outputRoots.has(t)) ? null : own(`slot ${i}`, bytes);
    });
    for (const [t, { slot, byteOffset }] of plan.slotOf) {
      const theirs = outputRoots.get(t);
      this.buffers.set(t, theirs ?? slots[slot]!);
      if (!theirs) this.starts.set(t, byteOffset);
    }
    // While the pipelines are made.
    this.device.touch(slots.filter((b) => b !== null));
    const intermediates = slots.reduce((sum, b) => sum + (b?.size ?? 0), 0);
    this.memory = { intermediates, live: plan.liveBytes, inputs, constants, variables };
  }

  private range(t: Tensor): { buffer: GPUBuffer; byteOffset: number } {
    const { root, byteOffset } = this.plan.placement.get(t) ?? resolve(t, new Map());
    return { buffer: this.buffers.get(root)!, byteOffset: (this.starts.get(root) ?? 0) + byteOffset };
  }

  private prepare(lowering: Lowering, kernels: readonly Kernel[], once: ReadonlySet<unknown>): void {
    const { device } = this;
    const packed = new Map<string, number>();
    const chunks: Uint8Array[] = [];
    const SLOT = 256;
    const offsets = lowering.launches.map((l, i) => {
      const layout = kernels[i].module.params;
      if (!layout) return { offset: 0, size: 0 };
      const bytes = new Uint8Array(packParams(layout, l.params ?? {}, l.kernel.shader));
      const key = bytes.join();
      let offset = packed.get(key);
      if (offset === undefined) {
        offset = chunks.length * SLOT;
        packed.set(key, offset);
        chunks.push(bytes);
      }
      return { offset, size: layout.size };
    });
    const uniforms = device.buffer("params", Math.max(1, chunks.length) * SLOT, UNIFORM | COPY_DST);
    this.owned.push(uniforms);
    const all = new Uint8Array(chunks.length * SLOT);
    chunks.forEach((c, i) => {
      all.set(c, i * SLOT);
    });
    if (all.length > 0) device.gpu.queue.writeBuffer(uniforms, 0, all);

    lowering.launches.forEach((launch, i) => {
      const kernel = kernels[i];
      const given = new Set(Object.keys(launch.bindings));
      const entries = kernel.module.bindings.map((b): GPUBindGroupEntry => {
        if (b.name === "params") {
          return { binding: b.index, resource: { buffer: uniforms, offset: offsets[i].offset, size: offsets[i].size } };
        }
        const t = launch.bindings[b.name];
        if (!t)
          throw new Error(
            `${launch.label}: ${launch.kernel.shader}.wgsl binds ${b.name}, which the launcher does not give`,
          );
        given.delete(b.name);
        const { buffer, byteOffset } = this.range(t);
        return { binding: b.index, resource: { buffer, offset: byteOffset, size: boundBytes(t) } };
      });
      if (given.size > 0)
        throw new Error(`${launch.label}: ${launch.kernel.shader}.wgsl does not bind ${[...given].join(", ")}`);
      const group = device.bindGroup({ label: launch.label, layout: kernel.layout, entries });
      const [x, y = 1, z = 1] = launch.workgroups;
      (once.has(launch.node) ? this.once : this.body).push({
        pipeline: kernel.pipeline,
        group,
        grid: [x, y, z],
        launch,
      });
    });
  }
}

/** What a kernel may touch of a tensor: whole `vec4`. */
const boundBytes = (t: Tensor) => Math.ceil(t.bytes / 16) * 16;

function findInputs(nodes: readonly Node[], roots: readonly Tensor[]): ReadonlyMap<string, Tensor> {
  const inputs = new Map<string, Tensor>();
  for (const t of [...nodes.flatMap((n) => n.inputs), ...roots]) {
    if (t.leaf?.kind !== "input") continue;
    const other = inputs.get(t.name);
    if (other && other !== t) throw new Error(`Two inputs are called ${t.name}`);
    inputs.set(t.name, t);
  }
  return inputs;
}
