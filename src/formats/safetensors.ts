/** Safetensors files on disk: read whole, written so that a crash or a full disk never costs the old file. */
import { type FileHandle, open } from "node:fs/promises";
import { UserError } from "../errors.js";
import {
  headerLength,
  LENGTH_BYTES,
  layOut,
  parseHeader,
  type SafetensorsFile,
  type StoredTensor,
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

/**
 * Reads a safetensors file. Each tensor gets a buffer of its own.
 *
 * @throws UserError naming the file when it is missing, unreadable, truncated or not valid
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    const first = await readAt(file, 0, Math.min(size, LENGTH_BYTES));
    const length = headerLength(first, size, path);
    const dataStart = LENGTH_BYTES + length;
    const { metadata, entries } = parseHeader(await readAt(file, LENGTH_BYTES, length), size - dataStart, path);
    const tensors = new Map<string, StoredTensor>();
    for (const entry of entries) {
      const bytes = await readAt(file, dataStart + entry.begin, entry.end - entry.begin);
      tensors.set(entry.name, tensorFrom(entry, bytes.buffer));
    }
    return { metadata, tensors };
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    throw new UserError(`Cannot read ${path}: ${inWords(cause)}`, { cause });
  } finally {
    await file?.close();
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(PIECE_BYTES, length - done), position + done);
    if (bytesRead === 0) throw new Error("the file became shorter while it was read.");
    done += bytesRead;
  }
  return bytes;
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
