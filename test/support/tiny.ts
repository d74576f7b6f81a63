/** A miniature dataset and a network small enough that a training step takes milliseconds. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";

/** A folder that is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mpn-test-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Settings of a network and a run of 6 steps on the dataset of `writeTinyDataset`. */
export const TINY_SETTINGS = [
  "layers=[1,1,1,1]",
  "width=4",
  "imageSize=[48,16]",
  "parts=3",
  "partDim=8",
  "subjects=2",
  "imagesPerSubject=2",
  "epochs=3",
  "iterationsPerEpoch=2",
  "workers=1",
  "evaluateEvery=0",
];

export const tinyArguments = TINY_SETTINGS.flatMap((setting) => ["--set", setting]);

/** People of plain colours: `people` to train on and two more as query and gallery, by two cameras. */
export async function writeTinyDataset(root: string, people = 3): Promise<void> {
  const write = async (folder: string, pid: number, camera: number, shot: number) => {
    mkdirSync(join(root, folder), { recursive: true });
    const background = { r: (pid * 70) % 256, g: (pid * 130 + 10 * camera) % 256, b: (pid * 190 + 5 * shot) % 256 };
    const name = `${String(pid).padStart(4, "0")}_c${camera}s1_${String(shot).padStart(6, "0")}_00.jpg`;
    await sharp({ create: { width: 20, height: 50, channels: 3, background } })
      .jpeg()
      .toFile(join(root, folder, name));
  };
  for (let pid = 1; pid <= people; pid++) {
    for (let shot = 0; shot < 4; shot++) await write("bounding_box_train", pid, 1 + (shot % 2), shot);
  }
  for (const pid of [people + 1, people + 2]) {
    await write("query", pid, 1, 0);
    for (let shot = 1; shot < 3; shot++) await write("bounding_box_test", pid, 2, shot);
  }
}
