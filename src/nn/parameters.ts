/**
 * Parameters and running statistics: engine layout on the device, torch's names and layout on disk.
 *
 * All parameters lie in one flat buffer, their momenta in a second one laid out alike, so that a step of SGD takes few
 * dispatches. The K parts' layers of one kind are one engine tensor, part k in columns [k C, (k + 1) C), so that they run
 * as one product; on disk each part has its own tensor.
 */
import { UserError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import { Block, type Shape, type Tensor, variable } from "../graph/tensor.js";
import type { Initializer } from "./init.js";

/** How one engine tensor appears in a checkpoint. */
interface Entry {
  readonly tensor: Tensor;
  /** Names on disk, one for each block of columns. */
  readonly names: readonly string[];
  /** Shape on disk of one of them: OIHW, [out, in] or [C]. */
  readonly diskShape: readonly number[];
  readonly init: Initializer;
}

export interface Declaration {
  readonly names: readonly string[];
  /** Engine shape: [kh, kw, in, out of all names] or [C of all names]. */
  readonly shape: Shape;
  readonly diskShape: readonly number[];
  readonly init: Initializer;
}

export interface NamedArray {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const ALIGN = 256;
/** Why a matrix of spatial attention may not fit a network of the same layers. */
const TIED =
  " Spatial attention (MPN*) relates all positions of a map, which ties its weights to the image size: set imageSize to " +
  "that of the checkpoint.";
const BUFFER_USAGE = 0x80 | 0x4 | 0x8;

export class ParameterStore {
  private readonly entries = new Map<string, Entry>();
  private scratch = new Float32Array(0);
  private readonly weights = new Block("parameters");
  private readonly momenta = new Block("momenta");
  private readonly statistics = new Block("running statistics");

  /** The trained tensor of this declaration, made at the first call. */
  parameter(declaration: Declaration): Tensor {
    return this.declare(declaration, this.weights);
  }

  /** A running statistic: saved with the weights, moved by batch norm, not trained. */
  statistic(declaration: Declaration): Tensor {
    return this.declare(declaration, this.statistics);
  }

  private declare(d: Declaration, block: Block): Tensor {
    const key = d.names[0];
    const known = this.entries.get(key);
    if (known) {
      if (known.tensor.shape.join() !== d.shape.join())
        throw new Error(`${key} was [${known.tensor.shape}] before, now [${d.shape}]`);
      return known.tensor;
    }
    if (block.buffer) throw new Error(`${key} was declared after the store had been allocated`);
    const tensor = variable(key, d.shape, block, block.bytes);
    block.bytes += Math.ceil(tensor.bytes / ALIGN) * ALIGN;
    this.entries.set(key, { tensor, ...d });
    return tensor;
  }

  /** The trained tensors, in the order in which they lie in the flat buffer. */
  get trained(): { tensor: Tensor; byteOffset: number; names: readonly string[] }[] {
    return this.inBlock(this.weights).map((e) => ({
      tensor: e.tensor,
      byteOffset: offsetOf(e.tensor),
      names: e.names,
    }));
  }

  /** Names and shapes on disk of all parameters and running statistics. */
  get names(): { name: string; shape: readonly number[] }[] {
    return [...this.entries.values()].flatMap((e) => e.names.map((name) => ({ name, shape: e.diskShape })));
  }

  /** Bytes that the parameters take, each of them padded. */
  get trainedBytes(): number {
    return this.weights.bytes;
  }

  /** Parameters and momenta from byte `start` to byte `end` (exclusive) as flat tensors. */
  flat(start: number, end: number): { weights: Tensor; momenta: Tensor } {
    // Only a store that is trained asks for this, so that others have no memory for momenta.
    this.momenta.bytes = this.weights.bytes;
    const shape = [(end - start) / 4];
    return {
      weights: variable("parameters", shape, this.weights, start),
      momenta: variable("momenta", shape, this.momenta, start),
    };
  }

  /** Numbers of trained parameters, without and with running statistics; names that `leaveOut` matches do not count. */
  count(leaveOut?: RegExp): { parameters: number; withStatistics: number } {
    const size = (e: Entry) => (leaveOut && e.names.some((n) => leaveOut.test(n)) ? 0 : e.tensor.size);
    const parameters = this.inBlock(this.weights).reduce((sum, e) => sum + size(e), 0);
    return {
      parameters,
      withStatistics: parameters + this.inBlock(this.statistics).reduce((sum, e) => sum + size(e), 0),
    };
  }

  private inBlock(block: Block): Entry[] {
    return [...this.entries.values()].filter(
      (e) => e.tensor.leaf?.kind === "variable" && e.tensor.leaf.block === block,
    );
  }

  /**
   * Gives the blocks memory and the parameters their initial values. Call once, after the model was built.
   * @param seed null leaves zeros, where all values are loaded: drawing those of ResNet-50 takes seconds
   */
  allocate(device: Device, seed: number | null): void {
    for (const block of [this.weights, this.momenta, this.statistics]) {
      if (block.bytes > 0) block.buffer ??= device.buffer(block.label, block.bytes, BUFFER_USAGE);
    }
    if (seed === null) return;
    for (const entry of this.entries.values()) {
      const values = new Map<string, Float32Array>();
      for (const name of entry.names) values.set(name, entry.init(seed, name, entry.diskShape));
      this.upload(device, entry, (name) => values.get(name)!);
    }
    // Lets the driver free the staging memory of so many writes.
    device.gpu.queue.submit([]);
  }

  /**
   * Loads values by their names on disk.
   * @returns the names that the model has and `values` lacks, and those that the model does not know
   * @throws UserError when a shape differs; nothing is loaded then
   */
  load(
    device: Device,
    values: ReadonlyMap<string, NamedArray>,
    source: string,
  ): { missing: string[]; unknown: string[] } {
    const { missing, complete } = this.match(values, source);
    for (const entry of complete) this.upload(device, entry, (name) => values.get(name)!.data);
    const known = new Set([...this.entries.values()].flatMap((entry) => entry.names));
    return { missing, unknown: [...values.keys()].filter((name) => !known.has(name)) };
  }

  /**
   * Values in engine layout of everything declared, from those by their names on disk. What the store does not know is
   * left out.
   * @throws UserError when one is missing or of another shape
   */
  toEngine(values: ReadonlyMap<string, NamedArray>, source: string): Map<Tensor, Float32Array> {
    const { missing, complete } = this.match(values, source);
    if (missing.length > 0) {
      const more = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
      throw new UserError(`${source} lacks ${missing.slice(0, 3).join(", ")}${more}, which this model has.`);
    }
    const arrays = ({ names }: Entry) => names.map((name) => values.get(name)!.data);
    return new Map(
      complete.map((entry) => {
        const engine = new Float32Array(entry.tensor.size);
        toEngine(entry, arrays(entry), engine);
        return [entry.tensor, engine];
      }),
    );
  }

  /** Names that `values` lacks, and the tensors whose values are all there. */
  private match(values: ReadonlyMap<string, NamedArray>, source: string): { missing: string[]; complete: Entry[] } {
    const all = [...this.entries.values()];
    const missing = all.flatMap((entry) => entry.names.filter((name) => !values.has(name)));
    const complete = all.filter((entry) => entry.names.every((name) => values.has(name)));
    for (const { names, diskShape } of complete) {
      for (const name of names) {
        const { shape } = values.get(name)!;
        if (shape.join() === diskShape.join()) continue;
        const tied = shape[1] !== diskShape[1] && /attention\d\.relate\.0/.test(name) ? TIED : "";
        throw new UserError(
          `${source}: ${name} is [${shape.join(", ")}], this model's is [${diskShape.join(", ")}].${tied}`,
        );
      }
    }
    return { missing, complete };
  }

  /**
   * Loads what fits by name and shape, and leaves the rest as it is.
   * @param nameIn the name in `values` of what this store calls `name`
   * @returns names on disk that this store loaded, and those that keep their values; and what of `values` was used
   */
  loadFitting(
    device: Device,
    values: ReadonlyMap<string, NamedArray>,
    nameIn: (name: string) => string,
  ): { loaded: string[]; kept: string[]; used: Set<string> } {
    const loaded: string[] = [];
    const kept: string[] = [];
    for (const entry of this.entries.values()) {
      const fits = entry.names.every((name) => values.get(nameIn(name))?.shape.join() === entry.diskShape.join());
      (fits ? loaded : kept).push(...entry.names);
      if (fits) this.upload(device, entry, (name) => values.get(nameIn(name))!.data);
    }
    return { loaded, kept, used: new Set(loaded.map(nameIn)) };
  }

  /** Loads momenta; the counterpart of `readMomenta`. */
  loadMomenta(device: Device, values: ReadonlyMap<string, NamedArray>): void {
    for (const entry of this.inBlock(this.weights)) {
      if (entry.names.every((n) => values.has(n)))
        this.upload(device, entry, (name) => values.get(name)!.data, this.momenta);
    }
  }

  private upload(device: Device, entry: Entry, valuesOf: (name: string) => Float32Array, block?: Block): void {
    // One array for all: new pages for each would cost as much as the turning.
    if (this.scratch.length < entry.tensor.size) this.scratch = new Float32Array(entry.tensor.size);
    const engine = this.scratch.subarray(0, entry.tensor.size);
    toEngine(entry, entry.names.map(valuesOf), engine);
    const leaf = entry.tensor.leaf;
    if (leaf?.kind !== "variable") throw new Error(`${entry.tensor} is no variable`);
    const buffer = (block ?? leaf.block).buffer;
    if (!buffer) throw new Error("the store has no memory yet: allocate it first");
    device.gpu.queue.writeBuffer(buffer, leaf.byteOffset, engine);
  }

  /** Reads parameters and running statistics back, by their names on disk. */
  async read(device: Device): Promise<Map<string, NamedArray>> {
    const result = new Map<string, NamedArray>();
    for (const block of [this.weights, this.statistics])
      await this.readBlock(device, this.inBlock(block), block, result);
    return result;
  }

  /** Values in engine layout, one array for each trained tensor in order, by their names on disk. */
  toDisk(values: readonly Float32Array[]): Map<string, Float32Array> {
    return new Map(this.inBlock(this.weights).flatMap((entry, i) => [...fromEngine(entry, values[i])]));
  }

  async readMomenta(device: Device): Promise<Map<string, NamedArray>> {
    const result = new Map<string, NamedArray>();
    await this.readBlock(device, this.inBlock(this.weights), this.momenta, result);
    return result;
  }

  private async readBlock(
    device: Device,
    entries: readonly Entry[],
    block: Block,
    result: Map<string, NamedArray>,
  ): Promise<void> {
    if (!block.buffer || block.bytes === 0) return;
    const staging = device.buffer("readback", block.bytes, 0x1 | 0x8);
    const encoder = device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(block.buffer, 0, staging, 0, block.bytes);
    device.gpu.queue.submit([encoder.finish()]);
    await device.wait(staging.mapAsync(0x1));
    const all = new Float32Array(staging.getMappedRange());
    for (const entry of entries) {
      const start = offsetOf(entry.tensor) / 4;
      for (const [name, data] of fromEngine(entry, all.subarray(start, start + entry.tensor.size))) {
        result.set(name, { shape: entry.diskShape, data });
      }
    }
    staging.unmap();
    device.release(staging);
    device.check("reading parameters back");
  }

  destroy(device: Device): void {
    for (const block of [this.weights, this.momenta, this.statistics]) {
      if (block.buffer) device.release(block.buffer);
      block.buffer = null;
    }
  }
}

function offsetOf(t: Tensor): number {
  return t.leaf?.kind === "variable" ? t.leaf.byteOffset : 0;
}

/** Values side by side in the engine that one visit moves: as many lines of a cache as one of its sets holds. */
const RUN = 8;

/**
 * Visits all values in runs that are whole in the engine and `step` apart on disk, such that both sides are walked line by line:
 * (column block, first on disk, step, first in the engine, count).
 */
function eachRun(
  entry: Entry,
  visit: (block: number, disk: number, step: number, engine: number, count: number) => void,
): void {
  const blocks = entry.names.length;
  const [out, inner = 1, kh = 1, kw = 1] = entry.diskShape;
  const taps = kh * kw;
  const step = inner * taps;
  for (let k = 0; k < blocks; k++) {
    for (let o = 0; o < out; o += RUN) {
      const count = Math.min(RUN, out - o);
      for (let i = 0; i < inner; i++) {
        for (let tap = 0; tap < taps; tap++) {
          visit(k, o * step + i * taps + tap, step, (tap * inner + i) * out * blocks + k * out + o, count);
        }
      }
    }
  }
}

function toEngine(entry: Entry, values: readonly Float32Array[], engine: Float32Array): void {
  eachRun(entry, (block, disk, step, at, count) => {
    const from = values[block];
    for (let n = 0; n < count; n++) engine[at + n] = from[disk + n * step];
  });
}

function fromEngine(entry: Entry, engine: Float32Array): Map<string, Float32Array> {
  const values = entry.names.map(() => new Float32Array(entry.tensor.size / entry.names.length));
  eachRun(entry, (block, disk, step, at, count) => {
    const to = values[block];
    for (let n = 0; n < count; n++) to[disk + n * step] = engine[at + n];
  });
  return new Map(entry.names.map((name, k) => [name, values[k]]));
}
