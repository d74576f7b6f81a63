import type { SynthOptions } from "./options.js";
import type { Shot } from "./render.js";

/** A picture to make and the files it becomes. */
export interface Job {
  folder: "bounding_box_train" | "query" | "bounding_box_test";
  /** File name without extension, as Market-1501 has it: person, camera, sequence, frame, box. */
  stem: string;
  shot: Shot;
  maps: boolean;
}

/** Numbers for people beyond the dataset's own, who appear as distractors and as junk. */
const OTHERS = 1_000_000;
/** Frames between two pictures of a camera. */
const STRIDE = 25;

/** All pictures of a dataset: training people have the ids from 1, test people those after them. */
export function planDataset(options: SynthOptions): Job[] {
  const { trainPeople, testPeople, cameras, imagesPerCamera, distractors, junk, maps, testMaps } = options;
  const jobs: Job[] = [];
  const frames = new Array<number>(cameras).fill(1);
  const push = (folder: Job["folder"], id: string, shot: Shot) => {
    const frame = String(frames[shot.camera]).padStart(6, "0");
    frames[shot.camera] += STRIDE;
    jobs.push({
      folder,
      stem: `${id}_c${shot.camera + 1}s1_${frame}_00`,
      shot,
      maps: folder === "bounding_box_train" ? maps : testMaps,
    });
  };
  for (let person = 0; person < trainPeople + testPeople; person++) {
    const id = String(person + 1).padStart(4, "0");
    for (let camera = 0; camera < cameras; camera++) {
      for (let take = 0; take < imagesPerCamera; take++) {
        const folder = person < trainPeople ? "bounding_box_train" : take === 0 ? "query" : "bounding_box_test";
        push(folder, id, { person, camera, take });
      }
    }
  }
  for (let i = 0; i < distractors; i++) {
    push("bounding_box_test", "0000", { person: OTHERS + i, camera: i % cameras, take: 0 });
  }
  for (let i = 0; i < junk; i++) {
    const shot = { person: OTHERS + distractors + i, camera: i % cameras, take: 0, missed: true };
    push("bounding_box_test", "-1", shot);
  }
  return jobs;
}
