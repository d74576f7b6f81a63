/** Label maps from PNG files: human parsing and segmentation, one label a pixel. */
import { readFile } from "node:fs/promises";
import { type DecodedPng, decode, hasPngSignature } from "fast-png";
import { UserError } from "../errors.js";
import { type DetectorErrors, perturbedWindow, seenThrough } from "./perturb.js";

/** `height * width` labels, row by row from the top. */
export interface LabelMap {
  width: number;
  height: number;
  data: Uint8Array;
}

const EXPECTED = "Expected a grey or palette PNG whose pixel value or palette index is the label, 0 to 255";
/** Offsets in a PNG file, whose first chunk is IHDR. */
const DEPTH_OFFSET = 24;
const INTERLACE_OFFSET = 28;

/**
 * Reads a label map: grey PNG of 1 to 16 bits, palette PNG of 1 to 8 bits (the index is the label; the palette's colours
 * are for the eye only), or a colour PNG whose channels are all equal, which is a grey one saved as RGB.
 *
 * @throws UserError naming the file: missing, corrupt, not PNG, coloured, labels above 255
 */
export async function readLabelMap(path: string): Promise<LabelMap> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new UserError(`Cannot read the label map ${path}: ${(cause as Error).message}`, { cause });
  }
  return decodeLabelMap(bytes, path);
}

/**
 * Decodes a PNG file's bytes, as `readLabelMap` does.
 *
 * @param path how errors call the map
 */
export function decodeLabelMap(bytes: Uint8Array, path: string): LabelMap {
  if (!hasPngSignature(bytes)) throw refuse(path, "it is not a PNG file");
  if (bytes[DEPTH_OFFSET] < 8 && bytes[INTERLACE_OFFSET] === 1) {
    // The decoder takes the packed pixels of interlaced rows for whole bytes.
    throw refuse(path, "it is interlaced with fewer than 8 bits a pixel; save it without interlacing");
  }
  let png: DecodedPng;
  try {
    png = decode(bytes, { checkCrc: true });
  } catch (cause) {
    throw refuse(path, `the file is truncated or corrupt (${(cause as Error).message})`, cause);
  }
  const { width, height, channels, depth } = png;
  const values = depth < 8 ? unpack(png) : png.data;
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) {
    const label = values[i * channels];
    if (channels >= 3 && (values[i * channels + 1] !== label || values[i * channels + 2] !== label)) {
      throw refuse(path, "it is a colour picture, of which no labels can be told");
    }
    if (label > 255) throw refuse(path, `it has the label ${label}`);
    data[i] = label;
  }
  return { width, height, data };
}

function refuse(path: string, what: string, cause?: unknown): UserError {
  return new UserError(`Cannot use the label map ${path}: ${what}. ${EXPECTED}.`, { cause });
}

/** Pixels of fewer than 8 bits lie packed in the decoder's rows, the leftmost in the highest bits, rows byte-aligned. */
function unpack({ width, height, depth, data }: DecodedPng): Uint8Array {
  const rowBytes = Math.ceil((width * depth) / 8);
  const perByte = 8 / depth;
  const mask = (1 << depth) - 1;
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = data[y * rowBytes + Math.floor(x / perByte)];
      values[y * width + x] = (byte >> (8 - depth * ((x % perByte) + 1))) & mask;
    }
  }
  return values;
}

/**
 * Where a segmentation map shows a person, as 0 or 1 a pixel. A map with values above 127 is a picture of 0 to 255, cut
 * at its middle (edges may be smooth); in any other one every label but 0 is person.
 */
export function personMask({ data }: LabelMap): Uint8Array {
  const above = data.some((value) => value > 127) ? 127 : 0;
  return data.map((value) => (value > above ? 1 : 0));
}

/** The map as its picture is seen with detector errors; `path` is the picture's or the map's. */
export function perturbLabels(map: LabelMap, path: string, errors: DetectorErrors): LabelMap {
  const window = perturbedWindow(path, errors, map);
  return { width: window.width, height: window.height, data: seenThrough(map, window, 1) };
}

/** The map at another size; each pixel takes the label of the nearest one, so that no label is invented. */
export function resizeLabels(map: LabelMap, width: number, height: number): LabelMap {
  if (map.width === width && map.height === height) return map;
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let x = 0; x < width; x++) {
      data[y * width + x] = map.data[row + Math.floor(((x + 0.5) * map.width) / width)];
    }
  }
  return { width, height, data };
}
