import { rename, rm, writeFile } from "node:fs/promises";
import { UserError } from "../errors.js";

/**
 * Writes a file aside as `<path>.tmp-<pid>`, flushed to the disk, then renamed over `path`.
 * @param data one array, or several that follow each other
 * @throws UserError when the file cannot be written; one that was at `path` stays as it was
 */
export async function writeAside(path: string, data: Uint8Array | Iterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    await writeFile(temporary, data, { flush: true });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new UserError(`Cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
}
