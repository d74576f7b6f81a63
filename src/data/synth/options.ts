import { z } from "zod";
import { UserError } from "../../errors.js";

const count = (least: number, most: number) => z.number().int().min(least).max(most);

const schema = z
  .strictObject({
    /** Names the world: its people, cameras and pictures. Equal options give equal files. */
    seed: z.number().int().nonnegative().default(1),
    trainPeople: count(0, 5000).default(40),
    testPeople: count(0, 4999).default(20),
    /** One digit in Market-1501's file names. */
    cameras: count(1, 9).default(4),
    /** Of each person by each camera; the first of a test person's becomes a query, the others go to the gallery. */
    imagesPerCamera: count(1, 100).default(4),
    /** [height, width] of the pictures in pixels. */
    size: z.tuple([count(16, 1024), count(8, 1024)]).default([128, 64]),
    /** How far the boxes are off: 0 exact, 1 about as a real detector's, 2 heavy (nine boxes in ten plainly wrong). */
    detectorError: z.number().min(0).max(5).default(1),
    /** Whether to write parsing and segmentation maps of the training pictures. */
    maps: z.boolean().default(true),
    format: z.enum(["jpeg", "png"]).default("jpeg"),
    /** JPEG quality of the best camera; the others lie up to 30 below. PNG has none. */
    quality: count(31, 100).default(92),
    /** Gallery pictures of people who are no query's (id 0000), and of missed people (id -1). */
    distractors: count(0, 5000).default(40),
    junk: count(0, 5000).default(20),
  })
  .refine(({ testPeople, cameras }) => testPeople === 0 || cameras > 1, {
    path: ["cameras"],
    error: "a query needs pictures of its person from another camera: give 2 cameras or more, or testPeople 0",
  })
  .refine(({ testPeople, imagesPerCamera }) => testPeople === 0 || imagesPerCamera > 1, {
    path: ["imagesPerCamera"],
    error: "one goes to the queries and the rest to the gallery: give 2 or more, or testPeople 0",
  })
  .refine(({ trainPeople, testPeople }) => trainPeople + testPeople > 0, {
    path: ["trainPeople"],
    error: "no people at all: give trainPeople or testPeople",
  });

export type SynthOptions = z.infer<typeof schema>;

/** Fills in the defaults. Throws a `UserError` (wrong usage) that names each value out of range. */
export function resolveOptions(options: Partial<SynthOptions>): SynthOptions {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join(".") || "options"}: ${message}`);
  throw new UserError(`Synthetic people: ${problems.join("; ")}.`, { exitCode: 2 });
}
