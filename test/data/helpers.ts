/** Miniature datasets, pictures and PNG files for the tests of src/data; everything is written to temporary folders. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { UserError } from "#src/errors.js";

/** Runs `body` with a temporary folder that is removed afterwards. */
export async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mpn-data-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function put(path: string, content: string | Uint8Array = "x"): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

/** What Windows and macOS leave among pictures. */
export const oddFiles = (folder: string) =>
  ["Thumbs.db", "._0001_c1s1_000001_00.jpg", "._1_001_1_01.png", ".DS_Store"].map((name) => join(folder, name));

/** A picture of one colour as a file of the given format. */
export function picture(width: number, height: number, rgb: number[], format: "jpeg" | "png" | "webp" = "jpeg") {
  const [r, g, b] = rgb;
  return sharp({ create: { width, height, channels: 3, background: { r, g, b } } })
    .toFormat(format, format === "png" ? {} : { quality: 100 })
    .toBuffer();
}

/** The error of a call, as a UserError; fails when there is none or another one. */
export async function userError(call: () => unknown): Promise<UserError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error("no error was thrown");
}

function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

export interface PngContent {
  width: number;
  height: number;
  depth: 1 | 2 | 4 | 8 | 16;
  /** 0 grey, 3 palette. */
  colourType: 0 | 3;
  values: ArrayLike<number>;
  /** Adam7. */
  interlaced?: boolean;
  /** Colours of the palette, R G B each; unlike the labels by default, so that a decoder that expands it is found out. */
  palette?: Uint8Array;
  /** A tRNS chunk: the transparent grey as two bytes, or the opacity of each colour of the palette. */
  transparent?: readonly number[];
}

/** First column, first row, steps right and down of each pass of Adam7. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** A PNG file written bit by bit from the specification; rows use the filters None, Sub and Up in turn. */
export function encodePng({
  width,
  height,
  depth,
  colourType,
  values,
  interlaced = false,
  palette,
  transparent,
}: PngContent): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colourType, 0, 0, interlaced ? 1 : 0], 8);

  const pixelBytes = Math.ceil(depth / 8);
  const lines: Uint8Array[] = [];
  for (const [left, top, right, down] of interlaced ? ADAM7 : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - left) / right);
    const rowBytes = Math.ceil((columns * depth) / 8);
    let above = new Uint8Array(rowBytes);
    for (let y = top, line = 0; columns > 0 && y < height; y += down, line++) {
      const bits = Array.from({ length: columns }, (_, x) =>
        values[y * width + left + x * right].toString(2).padStart(depth, "0"),
      ).join("");
      const row = Uint8Array.from({ length: rowBytes }, (_, i) =>
        Number.parseInt(bits.slice(8 * i, 8 * i + 8).padEnd(8, "0"), 2),
      );
      const filter = line % 3;
      const from = [() => 0, (i: number) => row[i - pixelBytes] ?? 0, (i: number) => above[i]][filter];
      lines.push(Uint8Array.of(filter, ...row.map((byte, i) => byte - from(i))));
      above = row;
    }
  }
  const colours = palette ?? Uint8Array.from({ length: 3 * 2 ** Math.min(depth, 8) }, (_, i) => 255 - ((i * 7) % 256));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    ...(colourType === 3 ? [chunk("PLTE", colours)] : []),
    ...(transparent ? [chunk("tRNS", Uint8Array.from(transparent))] : []),
    chunk("IDAT", deflateSync(Buffer.concat(lines))),
    chunk("IEND", new Uint8Array()),
  ]);
}

/** An 8-bit grey PNG. */
export function greyPng(width: number, height: number, values: ArrayLike<number>): Buffer {
  return encodePng({ width, height, depth: 8, colourType: 0, values });
}
