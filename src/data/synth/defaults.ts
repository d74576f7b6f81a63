/** The options of a synthetic dataset where nothing else is said; apart from their schema, so that help shows them at once. */
export const SYNTH_DEFAULTS = {
  seed: 1,
  trainPeople: 40,
  testPeople: 20,
  cameras: 4,
  imagesPerCamera: 4,
  size: [128, 64] as [height: number, width: number],
  detectorError: 1,
  maps: true,
  testMaps: false,
  outfits: "varied" as const,
  format: "jpeg" as const,
  quality: 92,
  distractors: 40,
  junk: 20,
};
