import * as v from "valibot";
import { UserError } from "../../errors.js";
import { ARRANGED_PEOPLE } from "./arranged.js";
import { SYNTH_DEFAULTS } from "./defaults.js";

const count = (least: number, most: number) => v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));

const schema = v.pipe(
  v.strictObject({
    /** Names the world: its people, cameras and pictures. Equal options give equal files. */
    seed: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0)), SYNTH_DEFAULTS.seed),
    trainPeople: v.optional(count(0, 5000), SYNTH_DEFAULTS.trainPeople),
    testPeople: v.optional(count(0, 4999), SYNTH_DEFAULTS.testPeople),
    /** One digit in Market-1501's file names. */
    cameras: v.optional(count(1, 9), SYNTH_DEFAULTS.cameras),
    /** Of each person by each camera; the first of a test person's becomes a query, the others go to the gallery. */
    imagesPerCamera: v.optional(count(1, 100), SYNTH_DEFAULTS.imagesPerCamera),
    /** [height, width] of the pictures in pixels. */
    size: v.optional(v.strictTuple([count(16, 1024), count(8, 1024)]), SYNTH_DEFAULTS.size),
    /** How far the boxes are off: 0 exact, 1 about as a real detector's, 2 heavy (nine boxes in ten plainly wrong). */
    detectorError: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(5)), SYNTH_DEFAULTS.detectorError),
    /** Whether to write parsing and segmentation maps of the training pictures. */
    maps: v.optional(v.boolean(), SYNTH_DEFAULTS.maps),
    /** Whether query and gallery pictures have maps too, which no evaluation asks for, but bench/aligned.ts. */
    testMaps: v.optional(v.boolean(), SYNTH_DEFAULTS.testMaps),
    /** "varied": as people dress; "arranged": everybody in the same six colours, told apart by which part wears which. */
    outfits: v.optional(v.picklist(["varied", "arranged"]), SYNTH_DEFAULTS.outfits),
    format: v.optional(v.picklist(["jpeg", "png"]), SYNTH_DEFAULTS.format),
    /** JPEG quality of the best camera; the others lie up to 30 below. PNG has none. */
    quality: v.optional(count(31, 100), SYNTH_DEFAULTS.quality),
    /** Gallery pictures of people who are no query's (id 0000), and of missed people (id -1). */
    distractors: v.optional(count(0, 5000), SYNTH_DEFAULTS.distractors),
    junk: v.optional(count(0, 5000), SYNTH_DEFAULTS.junk),
  }),
  v.forward(
    v.check(
      ({ testPeople, cameras }) => testPeople === 0 || cameras > 1,
      "a query needs pictures of its person from another camera: give 2 cameras or more, or testPeople 0",
    ),
    ["cameras"],
  ),
  v.forward(
    v.check(
      ({ testPeople, imagesPerCamera }) => testPeople === 0 || imagesPerCamera > 1,
      "one goes to the queries and the rest to the gallery: give 2 or more, or testPeople 0",
    ),
    ["imagesPerCamera"],
  ),
  v.forward(
    v.check(
      ({ outfits, trainPeople, testPeople }) => outfits === "varied" || trainPeople + testPeople <= ARRANGED_PEOPLE,
      `arranged outfits tell ${ARRANGED_PEOPLE} people apart at most: give fewer people`,
    ),
    ["outfits"],
  ),
  v.forward(
    v.check(
      ({ trainPeople, testPeople }) => trainPeople + testPeople > 0,
      "no people at all: give trainPeople or testPeople",
    ),
    ["trainPeople"],
  ),
);

export type SynthOptions = v.InferOutput<typeof schema>;

/** Fills in the defaults. Throws a `UserError` (wrong usage) that names each value out of range. */
export function resolveOptions(options: Partial<SynthOptions>): SynthOptions {
  const result = v.safeParse(schema, options);
  if (result.success) return result.output;
  const problems = result.issues.map((issue) => `${v.getDotPath(issue) ?? "options"}: ${issue.message}`);
  throw new UserError(`Synthetic people: ${problems.join("; ")}.`, { exitCode: 2 });
}
