/** Label maps from PNG files: human parsing and segmentation, one label a pixel. */
import { readFile } from "node:fs/promises";
import { PNG, type PNGWithMetadata } from "pngjs";
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
const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
/** Bytes of a chunk besides its data: length, type and checksum. */
const CHUNK_BYTES = 12;
/** The decoder's pixels are always R G B A. */
const CHANNELS = 4;
const GREYS = greyPalette();

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
  if (!SIGNATURE.equals(bytes.subarray(0, SIGNATURE.length))) throw refuse(path, "it is not a PNG file");
  let png: PNGWithMetadata;
  try {
    png = PNG.sync.read(rawValued(bytes), { skipRescale: true });
  } catch (cause) {
    throw refuse(path, `the file is truncated or corrupt (${(cause as Error).message})`, cause);
  }
  const { width, height, data: values } = png;
  if (!isGrey(values)) return { width, height, data: labelsOfColours(png, path) };
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) {
    const label = values[CHANNELS * i];
    if (label > 255) throw refuse(path, `it has the label ${label}`);
    data[i] = label;
  }
  return { width, height, data };
}

/**
 * The file with a palette of greys that are the indices and without transparency: the decoder, which gives colours and
 * blackens a transparent one, then gives the values as they stand in the file.
 */
function rawValued(bytes: Uint8Array): Buffer {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept: Uint8Array[] = [SIGNATURE];
  for (let at = SIGNATURE.length; at < file.length; ) {
    const end = at + 8 <= file.length ? at + CHUNK_BYTES + file.readUInt32BE(at) : file.length;
    const type = file.toString("latin1", at + 4, at + 8);
    if (type !== "tRNS") kept.push(type === "PLTE" ? GREYS : file.subarray(at, end));
    at = end;
  }
  return Buffer.concat(kept);
}

/** A PLTE chunk of the greys from 0 to 255. */
function greyPalette(): Buffer {
  const colours = Array.from({ length: 256 }, (_, grey) => [grey, grey, grey]).flat();
  const chunk = Buffer.from([0, 0, 0, 0, ...Buffer.from("PLTE"), ...colours, 0, 0, 0, 0]);
  chunk.writeUInt32BE(colours.length, 0);
  chunk.writeUInt32BE(0xe2b05d7d, chunk.length - 4); // CRC-32 of type and colours, which never change
  return chunk;
}

function isGrey(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i += CHANNELS) {
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

function labelsOfColours({ width, height, depth, data }: PNGWithMetadata, path: string): Uint8Array {
  const labels = new Uint8Array(width * height);
  for (let i = 0; i < labels.length; i++) {
    const [r, g, b] = data.subarray(CHANNELS * i, CHANNELS * i + 3);
    const label = depth === 8 ? VOC_LABELS.get((r << 16) | (g << 8) | b) : undefined;
    if (label === undefined) {
      const where = `at column ${i % width} and row ${Math.floor(i / width)}`;
      throw refuse(path, `it is a colour picture, and the colour (${r}, ${g}, ${b}) ${where} stands for no label`);
    }
    labels[i] = label;
  }
  return labels;
}

function refuse(path: string, what: string, cause?: unknown): UserError {
  return new UserError(`Cannot use the label map ${path}: ${what}. ${EXPECTED}.`, { cause });
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
