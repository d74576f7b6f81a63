/** Files written so that a crash or a full disk never costs the old one. */
import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.js";

/** Bytes per system call: one call moves at most 2 GiB, and a tensor may be larger. */
export const PIECE_BYTES = 64 * 1024 * 1024;

/** What the process `pid` writes before it is renamed to `path`. */
const asideOf = (path: string, pid: number | string) => `${path}.tmp-${pid}`;

/**
 * Writes a file aside as `<path>.tmp-<pid>`, flushed to the disk, then renamed over `path`.
 * @param pieces what follows each other; a text is written as UTF-8
 * @throws UserError naming the file when it cannot be written, as on a full disk; one that was at `path` stays as it was
 */
export async function writeAside(path: string, pieces: Iterable<Uint8Array> | string): Promise<void> {
  const temporary = asideOf(path, process.pid);
  let created = false;
  try {
    const file = await open(temporary, "w");
    created = true;
    try {
      for (const piece of typeof pieces === "string" ? [new TextEncoder().encode(pieces)] : pieces)
        await append(file, piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    if (created) await rm(temporary, { force: true });
    throw new UserError(`Cannot write ${path}: ${inWords(cause)}`, { cause });
  }
}

/**
 * Removes what processes that were killed amid writing `path` have left beside it, which nothing else ever would. One of
 * another machine cannot be told from a dead one, so this is for a file that one process at a time writes.
 */
export async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    const pid = /\.tmp-([1-9]\d*)$/.exec(name)?.[1];
    if (pid === undefined || name !== asideOf(basename(path), pid)) continue;
    try {
      process.kill(Number(pid), 0); // only asks whether there is such a process
    } catch (error) {
      // Any other error is of a process that lives and may not be asked.
      if ((error as NodeJS.ErrnoException).code === "ESRCH") await rm(join(folder, name), { force: true });
    }
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
  EISDIR: "it is a folder, not a file.",
  ENOTDIR: "a part of the path is a file, not a folder. Check the path.",
  EACCES: "permission denied. Check the rights of the file and its folder.",
  EROFS: "the file system is read-only. Choose another folder.",
  ENOSPC: "the disk is full. Free some space or choose another folder.",
  EDQUOT: "the disk quota is used up. Free some space or choose another folder.",
  EFBIG: "the file would exceed the size allowed here (file system or ulimit -f). Choose another folder.",
};

/** An error of the file system, in words where it is one of the usual ones. */
export function inWords(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return SYSTEM_ERRORS[code ?? ""] ?? message;
}
