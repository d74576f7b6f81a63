import { z } from "zod";
import { UserError } from "../../errors.js";
import { SYNTH_DEFAULTS } from "./defaults.js";

const count = (least: number, most: number) => z.number().int().min(least).max(most);

const schema = z
  .strictObject({
    /** Names the world: its people, cameras and pictures. Equal options give equal files. */
    seed: z.number().int().nonnegative().default(SYNTH_DEFAULTS.seed),
    trainPeople: count(0, 5000).default(SYNTH_DEFAULTS.trainPeople),
    testPeople: count(0, 4999).default(SYNTH_DEFAULTS.testPeople),
    /** One digit in Market-1501's file names. */
    cameras: count(1, 9).default(SYNTH_DEFAULTS.cameras),
    /** Of each person by each camera; the first of a test person's becomes a query, the others go to the gallery. */
    imagesPerCamera: count(1, 100).default(SYNTH_DEFAULTS.imagesPerCamera),
    /** [height, width] of the pictures in pixels. */
    size: z.tuple([count(16, 1024), count(8, 1024)]).default(SYNTH_DEFAULTS.size),
    /** How far the boxes are off: 0 exact, 1 about as a real detector's, 2 heavy (nine boxes in ten plainly wrong). */
    detectorError: z.number().min(0).max(5).default(SYNTH_DEFAULTS.detectorError),
    /** Whether to write parsing and segmentation maps of the training pictures. */
    maps: z.boolean().default(SYNTH_DEFAULTS.maps),
    format: z.enum(["jpeg", "png"]).default(SYNTH_DEFAULTS.format),
    /** JPEG quality of the best camera; the others lie up to 30 below. PNG has none. */
    quality: count(31, 100).default(SYNTH_DEFAULTS.quality),
    /** Gallery pictures of people who are no query's (id 0000), and of missed people (id -1). */
    distractors: count(0, 5000).default(SYNTH_DEFAULTS.distractors),
    junk: count(0, 5000).default(SYNTH_DEFAULTS.junk),
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
