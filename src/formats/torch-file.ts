/** Tells files of torch.save from others; apart from what reads them, which most runs never need. */
import { open } from "node:fs/promises";

/** Whether a file begins as torch.save begins one: "PK" of a zip archive, or a pickle of protocol 2 or later. */
export function looksLikeTorch(start: Uint8Array): boolean {
  return (start[0] === 0x50 && start[1] === 0x4b) || (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5);
}

/** Whether the file at `path` begins so; false where it cannot be read. */
export async function isTorchFile(path: string): Promise<boolean> {
  const file = await open(path).catch(() => null);
  if (!file) return false;
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(2), 0, 2, 0);
    return bytesRead === 2 && looksLikeTorch(buffer);
  } catch {
    return false; // a folder
  } finally {
    await file.close();
  }
}
