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

interface Shaped {
  readonly shape: readonly number[];
}

export interface NamedArray extends Shaped {
  readonly data: Float32Array;
}

/** Bytes that are read at once where tensors are smaller: few enough that they are still in the cache when they are turned. */
const READ_BYTES = 4 * 1024 * 1024;
/** Floats that are turned at a time. */
const TURNED = 256 * 1024;

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
    const fresh = [this.weights, this.momenta, this.statistics].filter(({ bytes, buffer }) => bytes > 0 && !buffer);
    device.touch(fresh.map((block) => (block.buffer = device.buffer(block.label, block.bytes, BUFFER_USAGE))));
    if (seed === null) return;
    for (const entry of this.entries.values()) {
      const values = new Map<string, Float32Array>();
      for (const name of entry.names) values.set(name, entry.init(seed, name, entry.diskShape));
      this.upload(device, entry, (name) => values.get(name)!);
    }
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
    const { missing, unknown, complete } = this.match(values, source);
    for (const entry of complete) this.upload(device, entry, (name) => values.get(name)!.data);
    return { missing, unknown };
  }

  /**
   * Loads values that are read as they are needed.
   * @param shapes of everything that there is, by name on disk
   * @param read gives the values of some names, which are used before it is called again
   * @returns as `load` does
   * @throws UserError as `load` does
   */
  loadFrom(
    device: Device,
    shapes: ReadonlyMap<string, Shaped>,
    source: string,
    read: (names: readonly string[]) => ReadonlyMap<string, NamedArray>,
  ): { missing: string[]; unknown: string[] } {
    const { missing, unknown, complete } = this.match(shapes, source);
    for (let first = 0, next = 0; first < complete.length; first = next) {
      for (let bytes = 0; next < complete.length && (next === first || bytes < READ_BYTES); next++)
        bytes += complete[next].tensor.bytes;
      const entries = complete.slice(first, next);
      const values = read(entries.flatMap((entry) => entry.names));
      for (const entry of entries) this.upload(device, entry, (name) => values.get(name)!.data);
    }
    return { missing, unknown };
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

  /** Names that `values` lacks, those that no tensor here has, and the tensors whose values are all there. */
  private match(
    values: ReadonlyMap<string, Shaped>,
    source: string,
  ): { missing: string[]; unknown: string[]; complete: Entry[] } {
    const all = [...this.entries.values()];
    const known = new Set(all.flatMap((entry) => entry.names));
    const unknown = [...values.keys()].filter((name) => !known.has(name));
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
    return { missing, unknown, complete };
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
    const leaf = entry.tensor.leaf;
    if (leaf?.kind !== "variable") throw new Error(`${entry.tensor} is no variable`);
    const buffer = (block ?? leaf.block).buffer;
    if (!buffer) throw new Error("the store has no memory yet: allocate it first");
    const values = entry.names.map(valuesOf);
    const { inner, taps, columns } = sizesOf(entry);
    // In parts that stay in the cache, through one array: new pages for each tensor would cost as much as the turning.
    const rows = Math.min(inner, Math.max(1, Math.floor(TURNED / (taps * columns))));
    const needed = rows * taps * columns;
    if (this.scratch.length < needed) this.scratch = new Float32Array(Math.max(needed, TURNED));
    for (let first = 0; first < inner; first += rows) {
      const end = Math.min(first + rows, inner);
      toEngine(entry, values, this.scratch, first, end);
      const size = (end - first) * columns;
      for (let tap = 0; tap < taps; tap++) {
        const part = this.scratch.subarray(tap * size, (tap + 1) * size);
        device.upload(buffer, leaf.byteOffset + 4 * (tap * inner + first) * columns, part);
      }
    }
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

/** Values side by side in the engine that are moved together: as many lines of a cache as one of its sets holds. */
const RUN = 8;

/**
 * Input channels `first` to `end` (exclusive) of [out, in, kh, kw] of each block to [kh, kw, end - first, all outs]. Both sides are
 * walked line by line; the turning of ResNet-50's weights takes half as long with the run written out.
 */
function toEngine(entry: Entry, values: readonly Float32Array[], engine: Float32Array, first = 0, end?: number): void {
  const { out, inner, taps, columns } = sizesOf(entry);
  const step = inner * taps;
  const rows = (end ?? inner) - first;
  values.forEach((from, block) => {
    for (let o = 0; o < out; o += RUN) {
      const rest = out - o < RUN ? out - o : 0;
      for (let i = 0; i < rows; i++) {
        let disk = o * step + (first + i) * taps;
        let at = i * columns + block * out + o;
        for (let tap = 0; tap < taps; tap++, disk++, at += rows * columns) {
          if (rest > 0) {
            for (let n = 0; n < rest; n++) engine[at + n] = from[disk + n * step];
            continue;
          }
          engine[at] = from[disk];
          engine[at + 1] = from[disk + step];
          engine[at + 2] = from[disk + 2 * step];
          engine[at + 3] = from[disk + 3 * step];
          engine[at + 4] = from[disk + 4 * step];
          engine[at + 5] = from[disk + 5 * step];
          engine[at + 6] = from[disk + 6 * step];
          engine[at + 7] = from[disk + 7 * step];
        }
      }
    }
  });
}

function fromEngine(entry: Entry, engine: Float32Array): Map<string, Float32Array> {
  const { out, inner, taps, columns } = sizesOf(entry);
  const step = inner * taps;
  return new Map(
    entry.names.map((name, block) => {
      const to = new Float32Array(out * step);
      for (let o = 0; o < out; o += RUN) {
        const count = Math.min(RUN, out - o);
        for (let i = 0; i < inner; i++) {
          let disk = o * step + i * taps;
          let at = i * columns + block * out + o;
          for (let tap = 0; tap < taps; tap++, disk++, at += inner * columns)
            for (let n = 0; n < count; n++) to[disk + n * step] = engine[at + n];
        }
      }
      return [name, to];
    }),
  );
}

function sizesOf({ names, diskShape: [out, inner = 1, kh = 1, kw = 1] }: Entry) {
  return { out, inner, taps: kh * kw, columns: out * names.length };
}
