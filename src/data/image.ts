/** Pictures from files: JPEG, PNG and WebP, told apart by their content. */
import { readFile } from "node:fs/promises";
import sharp, { type Metadata } from "sharp";
import { UserError } from "../errors.js";
import { type DetectorErrors, perturbedWindow, placeOf, type Size, seenThrough } from "./perturb.js";

/** A picture with `height * width * 3` bytes, row by row from the top, R G B for each pixel. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

/** An image file that cannot be read: missing, truncated, corrupt or of another format. */
export class ImageError extends UserError {
  constructor(
    readonly path: string,
    /** What is wrong, without the path. */
    readonly reason: string,
    options: { cause?: unknown } = {},
  ) {
    super(`Cannot read the image ${path}: ${reason}. Replace or remove the file.`, options);
  }
}

export interface DecodeOptions {
  /** Larger pictures are halved until they fit, which bounds memory (3 bytes a pixel). */
  maxPixels?: number;
  /** Shows the picture through a box that is off, `maxPixels` being the box's. */
  perturb?: DetectorErrors;
  /** The picture's path within its dataset, which decides that box; by default its file's name. */
  place?: string;
}

const DEFAULT_MAX_PIXELS = 2048 * 2048;

const FORMATS = new Set(["jpeg", "png", "webp"]);

/**
 * Reads and decodes an image file: upright (EXIF rotation applied), sRGB, 8 bits a channel, transparency dropped, at its
 * own size unless that exceeds `maxPixels`.
 *
 * @throws ImageError naming the file
 */
export async function decodeImage(path: string, options: DecodeOptions = {}): Promise<RgbImage> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ImageError(path, code === "ENOENT" ? "no such file" : message, { cause });
  }
  return decodeImageBytes(bytes, path, options);
}

/**
 * Decodes an image file's bytes, as `decodeImage` does.
 *
 * @param path how errors call the image
 * @throws ImageError
 */
async function decodeImageBytes(
  bytes: Uint8Array,
  path: string,
  { maxPixels = DEFAULT_MAX_PIXELS, perturb, place }: DecodeOptions = {},
): Promise<RgbImage> {
  if (bytes.length === 0) throw new ImageError(path, "the file is empty");
  // "error" lets harmless oddities pass that libjpeg only warns of, and still refuses a truncated file.
  const picture = sharp(bytes, { failOn: "error", autoOrient: true });
  try {
    const metadata = await picture.metadata();
    if (!FORMATS.has(metadata.format)) {
      throw new ImageError(path, `its content is ${metadata.format}; JPEG, PNG and WebP are read`);
    }
    const windowOf = (size: Size) =>
      perturb ? perturbedWindow(placeOf({ path, place }), perturb, size) : { top: 0, left: 0, ...size };
    const size = boundedSize(metadata, (s) => area(windowOf(s)) <= maxPixels);
    if (size) picture.resize({ ...size, fit: "fill" });
    const { data, info } = await picture.toColourspace("srgb").removeAlpha().raw().toUint8Array();
    const { width, height } = info;
    if (!perturb) return { width, height, data: new Uint8Array(data) };
    const window = windowOf({ width, height });
    return { width: window.width, height: window.height, data: seenThrough({ width, height, data }, window, 3) };
  } catch (cause) {
    if (cause instanceof ImageError) throw cause;
    throw new ImageError(path, (cause as Error).message.trim(), { cause });
  }
}

const area = ({ width, height }: Size) => width * height;

/** The size after as many halvings as it takes to fit; null where it fits as it is. */
function boundedSize({ autoOrient }: Metadata, fits: (size: Size) => boolean): Size | null {
  let { width, height } = autoOrient;
  if (fits({ width, height })) return null;
  while (!fits({ width, height }) && width * height > 1) {
    width = Math.ceil(width / 2);
    height = Math.ceil(height / 2);
  }
  return { width, height };
}
