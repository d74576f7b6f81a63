/** Safetensors files on disk: read whole, written so that a crash or a full disk never costs the old file. */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
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

export {
  type DType,
  type ElementArrays,
  parseSafetensors,
  type SafetensorsFile,
  type StoredTensor,
} from "./safetensors-layout.js";

/** Bytes per system call: one call moves at most 2 GiB, and a tensor may be larger. */
const PIECE_BYTES = 64 * 1024 * 1024;

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
    throw new UserError(`Cannot read ${path}: ${describe(cause)}`, { cause });
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
 * Writes a safetensors file: aside as `<path>.tmp-<pid>`, flushed to the disk, then renamed over `path`. On any failure
 * the temporary file is removed and a file that was at `path` stays as it was.
 *
 * @throws UserError naming the file when it cannot be written, as on a full disk
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<[string, StoredTensor]>,
  metadata: Record<string, string>,
): Promise<void> {
  const { start, ordered } = layOut(tensors, metadata);
  const temporary = `${path}.tmp-${process.pid}`;
  let created = false;
  try {
    const file = await open(temporary, "w");
    created = true;
    try {
      await append(file, start);
      for (const [, { data }] of ordered)
        await append(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    if (created) await rm(temporary, { force: true });
    throw new UserError(`Cannot write ${path}: ${describe(cause)}`, { cause });
  }
}

async function append(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(PIECE_BYTES, bytes.length - done));
    done += bytesWritten;
  }
}

/** What the usual system errors mean, and what helps. */
const SYSTEM_ERRORS: Record<string, string> = {
  ENOENT: "no such file or folder. Check the path.",
  EISDIR: "it is a folder; a .safetensors file was looked for.",
  ENOTDIR: "a part of the path is a file, not a folder. Check the path.",
  EACCES: "permission denied. Check the rights of the file and its folder.",
  EROFS: "the file system is read-only. Choose another folder.",
  ENOSPC: "the disk is full. Free some space or choose another folder.",
  EDQUOT: "the disk quota is used up. Free some space or choose another folder.",
  EFBIG: "the file would exceed the size allowed here (file system or ulimit -f). Choose another folder.",
};

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return SYSTEM_ERRORS[code ?? ""] ?? message;
}
