/** Attention maps laid over pictures (Fig. 7 and 8), one by one for a page and as one PNG. */
import sharp, { type OverlayOptions } from "sharp";
import type { RgbImage } from "../data/image.js";

/** What one classifier looks at. */
export interface AttentionCell {
  /** The classifier, such as "part 1". */
  readonly title: string;
  /** What it makes of the picture, line by line: "0012, 63 %". */
  readonly caption: readonly string[];
  readonly rows: number;
  readonly columns: number;
  /** [rows * columns] from 0 to 1; the map covers the whole picture. */
  readonly values: Float32Array;
}

/** One model's classifiers on one picture. */
export interface AttentionRow {
  readonly label: string;
  readonly cells: readonly AttentionCell[];
}

/** One picture with the maps of several models, which a figure compares row by row. */
export interface AttentionFigure {
  /** What the picture is called. */
  readonly label: string;
  readonly image: RgbImage;
  readonly rows: readonly AttentionRow[];
}

/** Matplotlib's "inferno" at equal steps from 0 to 1: perceptually uniform, and its lightness rises all the way. */
const INFERNO = [
  [0, 0, 4],
  [27, 12, 66],
  [75, 12, 107],
  [120, 28, 109],
  [165, 44, 96],
  [207, 68, 70],
  [237, 105, 37],
  [251, 154, 6],
  [247, 208, 60],
  [252, 255, 164],
];

/** The colour of a value from 0 to 1, each channel from 0 to 255. */
export function colourOf(value: number): [red: number, green: number, blue: number] {
  const at = Math.min(1, Math.max(0, value)) * (INFERNO.length - 1);
  const i = Math.min(Math.floor(at), INFERNO.length - 2);
  const channel = (c: number) => INFERNO[i][c] + (at - i) * (INFERNO[i + 1][c] - INFERNO[i][c]);
  return [channel(0), channel(1), channel(2)];
}

/** The colours as a CSS gradient from 0 to 1, for a legend. */
export const COLOUR_GRADIENT = `linear-gradient(90deg, ${INFERNO.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;

/**
 * Bilinear enlargement, each value at the centre of its cell; beyond the outermost centres a map goes on as it is there.
 * @returns [height * width]
 */
export function enlarge(
  { rows, columns, values }: Pick<AttentionCell, "rows" | "columns" | "values">,
  width: number,
  height: number,
): Float32Array {
  const taps = (size: number, cells: number) =>
    Array.from({ length: size }, (_, i): [low: number, high: number, fraction: number] => {
      const at = Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / size - 0.5));
      const low = Math.floor(at);
      return [low, Math.min(cells - 1, low + 1), at - low];
    });
  const across = taps(width, columns);
  const result = new Float32Array(width * height);
  taps(height, rows).forEach(([top, bottom, down], y) => {
    across.forEach(([left, right, along], x) => {
      const between = (row: number) =>
        values[row * columns + left] * (1 - along) + values[row * columns + right] * along;
      result[y * width + x] = between(top) * (1 - down) + between(bottom) * down;
    });
  });
  return result;
}

/** How much of a pixel is the map's colour where the map is 0 and where it is 1. */
const OPACITY = [0.45, 0.65];

/** The picture with the map over it, of the picture's size. */
export function overlay(picture: RgbImage, map: Pick<AttentionCell, "rows" | "columns" | "values">): RgbImage {
  const { width, height } = picture;
  const data = new Uint8Array(picture.data.length);
  enlarge(map, width, height).forEach((value, i) => {
    const opacity = OPACITY[0] + value * (OPACITY[1] - OPACITY[0]);
    colourOf(value).forEach((colour, c) => {
      data[3 * i + c] = Math.round(opacity * colour + (1 - opacity) * picture.data[3 * i + c]);
    });
  });
  return { width, height, data };
}

const raw = ({ data, width, height }: RgbImage) => sharp(data, { raw: { width, height, channels: 3 } });

/** The picture at the height of a figure's cell, its shape kept unless it is extreme. */
export async function cellPicture({ width, height, data }: RgbImage, cellHeight: number): Promise<RgbImage> {
  const aspect = Math.min(1.5, Math.max(0.25, width / height));
  const size = { width: Math.round(cellHeight * aspect), height: cellHeight };
  const resized = await raw({ width, height, data })
    .resize({ ...size, fit: "fill" })
    .raw()
    .toBuffer();
  return { ...size, data: new Uint8Array(resized) };
}

/** A picture as a JPEG in a data URI. */
export async function dataUri(picture: RgbImage): Promise<string> {
  const jpeg = await raw(picture).jpeg({ quality: 85 }).toBuffer();
  return `data:image/jpeg;base64,${jpeg.toString("base64")}`;
}

const CELL_HEIGHT = 288;
const GAP = 10;
/** Heights of the picture's name at the top, of a model's name above its row and of a line below a cell. */
const TITLE = 18;
const HEADING = 26;
const LINE = 14;

/**
 * Draws a figure as one PNG: a row for each model, in it the picture and the map of each classifier over it. Where the
 * system has no font, the labels are left out.
 */
export async function attentionPicture({ label, image, rows }: AttentionFigure): Promise<Uint8Array> {
  const picture = await cellPicture(image, CELL_HEIGHT);
  const lettered = await hasFonts();
  const lines = 1 + Math.max(...rows.flatMap(({ cells }) => cells.map((cell) => cell.caption.length)));
  const [title, heading, caption] = lettered ? [TITLE, HEADING, LINE * lines + 6] : [0, 0, 0];
  const rowStep = heading + CELL_HEIGHT + caption + GAP;
  const left = (column: number) => GAP + column * (picture.width + GAP);
  const top = (row: number) => GAP + title + row * rowStep + heading;
  const layers = rows.flatMap(({ cells }, row): OverlayOptions[] =>
    [picture, ...cells.map((cell) => overlay(picture, cell))].map(({ data, width, height }, column) => ({
      input: Buffer.from(data),
      raw: { width, height, channels: 3 },
      left: left(column),
      top: top(row),
    })),
  );
  const size = {
    width: left(1 + Math.max(...rows.map(({ cells }) => cells.length))),
    height: GAP + title + rows.length * rowStep,
  };
  if (lettered) layers.push({ input: letters(label, rows, size, left, top, picture.width), left: 0, top: 0 });
  return sharp({ create: { ...size, channels: 3, background: "#ffffff" } })
    .composite(layers)
    .png({ compressionLevel: 9 })
    .toBuffer();
}

/** Width of a letter of a common font in units of its size, on average. */
const LETTER = 0.56;

/** All text of a figure as one transparent SVG. Letters are taken to be `LETTER` of their size wide. */
function letters(
  label: string,
  rows: readonly AttentionRow[],
  { width, height }: { width: number; height: number },
  left: (column: number) => number,
  top: (row: number) => number,
  cellWidth: number,
): Buffer {
  const text = (x: number, y: number, words: string, { size = 11, room = cellWidth + GAP - 2, style = "" } = {}) =>
    `<text x="${x}" y="${y}" font-size="${size}" ${style}>${escapeXml(shortened(words, Math.floor(room / (LETTER * size))))}</text>`;
  const muted = { style: 'fill="#5d6675"' };
  const room = width - 2 * GAP;
  const lines = rows.flatMap((row, r) => [
    text(left(0), top(r) - 8, row.label, { size: 15, room, style: 'font-weight="bold"' }),
    ...row.cells.flatMap((cell, i) =>
      [cell.title, ...cell.caption].map((words, line) =>
        text(left(i + 1), top(r) + CELL_HEIGHT + LINE * (line + 1), words, line > 0 ? muted : {}),
      ),
    ),
  ]);
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" fill="#181c24">
      ${text(left(0), GAP + 10, label, { ...muted, room })}${lines.join("")}</svg>`,
  );
}

const shortened = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

const escapeXml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

let fonts: Promise<boolean> | null = null;

/** Whether text can be drawn: without fonts every letter is the same empty box, or nothing. */
function hasFonts(): Promise<boolean> {
  const ink = async (text: string) => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><text x="4" y="20">${text}</text></svg>`;
    return sharp(Buffer.from(svg)).ensureAlpha().extractChannel(3).raw().toBuffer();
  };
  fonts ??= Promise.all([ink("i"), ink("m")]).then(([narrow, wide]) => !narrow.equals(wide));
  return fonts;
}
