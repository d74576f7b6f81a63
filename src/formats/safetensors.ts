/** Safetensors files on disk: read whole or in parts, written so that a crash or a full disk never costs the old file. */
import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { UserError } from "../errors.js";
import {
  type Header,
  headerLength,
  LENGTH_BYTES,
  layOut,
  parseHeader,
  type SafetensorsFile,
  type StoredTensor,
  type TensorEntry,
  tensorFrom,
} from "./safetensors-layout.js";
import { inWords, PIECE_BYTES, writeAside } from "./write-aside.js";

export {
  type DType,
  type ElementArrays,
  parseSafetensors,
  type SafetensorsFile,
  type StoredTensor,
} from "./safetensors-layout.js";

/** An open safetensors file: its header, and tensors as they are asked for. */
export class SafetensorsReader {
  readonly metadata: Record<string, string>;
  /** By name, in the order of the header. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  private scratch = new ArrayBuffer(0);

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    private readonly dataStart: number,
    { metadata, entries }: Header,
  ) {
    this.metadata = metadata;
    this.entries = new Map(entries.map((entry) => [entry.name, entry]));
  }

  /**
   * Opens a file and checks its header; `close` it when done.
   *
   * @throws UserError naming the file when it is missing, unreadable, truncated or not valid
   */
  static async open(path: string): Promise<SafetensorsReader> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, "r");
      const { size } = await file.stat();
      const first = new Uint8Array(Math.min(size, LENGTH_BYTES));
      readAt(file, 0, first);
      const header = new Uint8Array(headerLength(first, size, path));
      const dataStart = LENGTH_BYTES + header.length;
      readAt(file, LENGTH_BYTES, header);
      return new SafetensorsReader(path, file, dataStart, parseHeader(header, size - dataStart, path));
    } catch (cause) {
      await file?.close();
      throw readError(path, cause);
    }
  }

  /**
   * Reads tensors into memory that the next call uses again: fresh pages for each tensor would cost several times what reading
   * does.
   *
   * @param names of tensors that the file has
   * @throws UserError naming the file when it cannot be read
   */
  view(names: readonly string[]): Map<string, StoredTensor> {
    const wanted = names.map((name) => this.entry(name)).sort((a, b) => a.begin - b.begin);
    const bytes = wanted.reduce((sum, { begin, end }) => sum + end - begin, 0);
    if (this.scratch.byteLength < bytes) this.scratch = new ArrayBuffer(bytes);
    const tensors = new Map<string, StoredTensor>();
    let at = 0;
    for (let first = 0, next = 0; first < wanted.length; first = next) {
      // What lies side by side in the file is read at once.
      const { begin } = wanted[first];
      for (next = first + 1; wanted[next]?.begin === wanted[next - 1].end; ) next++;
      const run = new Uint8Array(this.scratch, at, wanted[next - 1].end - begin);
      this.fill(begin, run);
      for (const entry of wanted.slice(first, next))
        tensors.set(entry.name, tensorFrom(entry, this.scratch, at + entry.begin - begin));
      at += run.length;
    }
    return tensors;
  }

  /** Reads one tensor into a buffer of its own. */
  read(name: string): StoredTensor {
    const entry = this.entry(name);
    const bytes = new Uint8Array(entry.end - entry.begin);
    this.fill(entry.begin, bytes);
    return tensorFrom(entry, bytes.buffer, 0);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private entry(name: string): TensorEntry {
    const entry = this.entries.get(name);
    if (!entry) throw new Error(`${this.path} has no tensor ${name}`);
    return entry;
  }

  private fill(begin: number, bytes: Uint8Array): void {
    try {
      readAt(this.file, this.dataStart + begin, bytes);
    } catch (cause) {
      throw readError(this.path, cause);
    }
  }
}

/**
 * Reads a safetensors file. Each tensor gets a buffer of its own.
 *
 * @throws UserError naming the file when it is missing, unreadable, truncated or not valid
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const reader = await SafetensorsReader.open(path);
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of reader.entries.keys()) tensors.set(name, reader.read(name));
    return { metadata: reader.metadata, tensors };
  } finally {
    await reader.close();
  }
}

function readError(path: string, cause: unknown): UserError {
  return cause instanceof UserError ? cause : new UserError(`Cannot read ${path}: ${inWords(cause)}`, { cause });
}

/** Does not give way to the event loop, each of whose turns takes a millisecond while a device is waited for (`Device.wait`). */
function readAt(file: FileHandle, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const bytesRead = readSync(file.fd, bytes, done, Math.min(PIECE_BYTES, bytes.length - done), position + done);
    if (bytesRead === 0) throw new Error("the file became shorter while it was read.");
    done += bytesRead;
  }
}

/**
 * Writes a safetensors file, aside and renamed.
 *
 * @throws UserError naming the file when it cannot be written, as on a full disk; one that was at `path` stays as it was
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<[string, StoredTensor]>,
  metadata: Record<string, string>,
): Promise<void> {
  const { start, ordered } = layOut(tensors, metadata);
  const pieces = ordered.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  await writeAside(path, [start, ...pieces]);
}
