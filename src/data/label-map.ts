/** Label maps from PNG files: human parsing and segmentation, one label a pixel. */
import { readFile } from "node:fs/promises";
import { type DecodedPng, decode, hasPngSignature } from "fast-png";
import { PNG } from "pngjs";
import { UserError } from "../errors.js";
import { type DetectorErrors, perturbedWindow, seenThrough } from "./perturb.js";

/** `height * width` labels, row by row from the top. */
export interface LabelMap {
  width: number;
  height: number;
  data: Uint8Array;
}

const EXPECTED =
  "Expected a PNG that is grey or has a palette, whose pixel value or palette index is the label (0 to 255), or one in the " +
  "colours of PASCAL VOC";
/** Offsets in a PNG file, whose first chunk is IHDR. */
const SIGNATURE_BYTES = 8;
const DEPTH_OFFSET = 24;
const COLOUR_OFFSET = 25;
const INTERLACE_OFFSET = 28;
/** Colour type of a palette. */
const INDEXED = 3;

/**
 * Reads a label map: grey PNG of 1 to 16 bits, palette PNG of 1 to 8 bits (the index is the label; the palette's colours
 * are for the eye only), a colour PNG whose channels are all equal, which is a grey one saved as RGB, or a colour PNG in
 * PASCAL VOC's palette, which all parsing tools draw with. Interlaced or not.
 *
 * @throws UserError naming the file: missing, corrupt, not PNG, of other colours, labels above 255
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
  let png: DecodedPng;
  try {
    // The decoder takes the packed pixels of interlaced rows for whole bytes.
    if (bytes[DEPTH_OFFSET] < 8 && bytes[INTERLACE_OFFSET] === 1) return decodeInterlaced(bytes);
    png = decode(bytes, { checkCrc: true });
  } catch (cause) {
    throw refuse(path, `the file is truncated or corrupt (${(cause as Error).message})`, cause);
  }
  const { width, height, channels, depth } = png;
  const values = depth < 8 ? unpack(png) : png.data;
  if (channels >= 3 && !isGrey(values, channels)) return { width, height, data: labelsOfColours(png, path) };
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) {
    const label = values[i * channels];
    if (label > 255) throw refuse(path, `it has the label ${label}`);
    data[i] = label;
  }
  return { width, height, data };
}

function isGrey(values: ArrayLike<number>, channels: number): boolean {
  for (let i = 0; i < values.length; i += channels) {
    if (values[i + 1] !== values[i] || values[i + 2] !== values[i]) return false;
  }
  return true;
}

/**
 * The colour of a label in PASCAL VOC's palette, as 0xRRGGBB: bits 0, 1 and 2 of the label are the highest bits of red,
 * green and blue, bits 3 to 5 the next ones, and so on.
 */
export function vocColour(label: number): number {
  let colour = 0;
  for (let bit = 0; bit < 8; bit++) {
    const channel = bit % 3;
    if ((label >> bit) & 1) colour |= 1 << (8 * (2 - channel) + 7 - Math.floor(bit / 3));
  }
  return colour;
}

const VOC_LABELS = new Map(Array.from({ length: 256 }, (_, label) => [vocColour(label), label]));

function labelsOfColours({ width, height, channels, depth, data }: DecodedPng, path: string): Uint8Array {
  const labels = new Uint8Array(width * height);
  for (let i = 0; i < labels.length; i++) {
    const [r, g, b] = data.subarray(i * channels, i * channels + 3);
    const label = depth === 8 ? VOC_LABELS.get((r << 16) | (g << 8) | b) : undefined;
    if (label === undefined) {
      const where = `at column ${i % width} and row ${Math.floor(i / width)}`;
      throw refuse(path, `it is a colour picture, and the colour (${r}, ${g}, ${b}) ${where} stands for no label`);
    }
    labels[i] = label;
  }
  return labels;
}

/** Interlaced maps of fewer than 8 bits. Their decoder gives colours; a palette of greys makes them the indices. */
function decodeInterlaced(bytes: Uint8Array): LabelMap {
  const file = Buffer.from(bytes);
  const indexed = file[COLOUR_OFFSET] === INDEXED;
  for (let at = SIGNATURE_BYTES, length = 0; indexed && at + 8 <= file.length; at += 12 + length) {
    length = file.readUInt32BE(at);
    if (file.toString("latin1", at + 4, at + 8) !== "PLTE") continue;
    for (let i = 0; i < length / 3; i++) file.fill(i, at + 8 + 3 * i, at + 11 + 3 * i);
  }
  // The palette's checksum no longer fits; the pixels have one of their own.
  const { width, height, data } = PNG.sync.read(file, { checkCRC: !indexed });
  // Greys are stretched to 0..255.
  const unit = indexed ? 1 : 255 / (2 ** bytes[DEPTH_OFFSET] - 1);
  return { width, height, data: Uint8Array.from({ length: width * height }, (_, i) => Math.round(data[4 * i] / unit)) };
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

/** The map as its picture, which has this place in its dataset, is seen with detector errors. */
export function perturbLabels(map: LabelMap, place: string, errors: DetectorErrors): LabelMap {
  const window = perturbedWindow(place, errors, map);
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
