/** Thumbnails for the page, and ranked lists as one PNG. */
import sharp, { type OverlayOptions } from "sharp";
import { UserError } from "../errors.js";
import type { Picture, RankedListData } from "./data.js";

/** Upright, as networks see it: a phone's or a camera's picture may lie on its side, and say so in its EXIF. */
const open = ({ image }: Picture) => sharp(image, { autoOrient: true });

/** Height in pixels of a thumbnail: twice the height at which the page shows it. */
const THUMBNAIL_HEIGHT = 320;

/** A small JPEG as a data URI, or undefined when the picture cannot be read: one picture less is no reason for no report. */
export async function thumbnail(picture: Picture): Promise<string | undefined> {
  try {
    const jpeg = await open(picture)
      .resize({ height: THUMBNAIL_HEIGHT, withoutEnlargement: true })
      .jpeg({ quality: 80 })
      .toBuffer();
    return `data:image/jpeg;base64,${jpeg.toString("base64")}`;
  } catch {
    return undefined;
  }
}

/** Strokes of the marks in a 16 x 16 box, for the page and for the picture: no font is needed to draw them. */
export const MARK_STROKES = { right: "M3.5 8.5 6.5 11.5 12.5 4.5", wrong: "M4.5 4.5 11.5 11.5 M11.5 4.5 4.5 11.5" };

const FRAME_COLOURS = { query: "#2563eb", right: "#15803d", wrong: "#c81e1e" };

export interface RankedListPictureOptions {
  /** Size in pixels of one image with its frame. Default 96 x 224. */
  cellWidth?: number;
  cellHeight?: number;
  /** Matches in a row; shorter lists leave room. Default: the longest list. */
  topK?: number;
}

/**
 * Draws ranked lists as rows of one PNG: the query in a blue frame, then its matches, best first, right ones with a
 * green frame and a check mark, wrong ones with a red frame and a cross.
 *
 * @throws UserError when there is no list or an image cannot be read
 */
export async function rankedListPicture(
  lists: readonly RankedListData[],
  options: RankedListPictureOptions = {},
): Promise<Uint8Array> {
  const { cellWidth = 96, cellHeight = 224 } = options;
  const topK = options.topK ?? Math.max(0, ...lists.map(({ matches }) => matches.length));
  if (lists.length === 0) throw new UserError("There is no ranked list to draw; at least one query is needed.");
  const gap = Math.round(cellWidth / 10);
  const [columnStep, rowStep, queryGap] = [cellWidth + gap, cellHeight + gap, 2 * gap];

  const cells = lists.flatMap(({ query, matches }, row) => [
    { picture: query, kind: "query" as const, left: gap, top: gap + row * rowStep },
    ...matches.slice(0, topK).map((match, column) => ({
      picture: match,
      kind: match.right ? ("right" as const) : ("wrong" as const),
      left: gap + queryGap + (column + 1) * columnStep,
      top: gap + row * rowStep,
    })),
  ]);
  const layers = await Promise.all(
    cells.map(async ({ picture, kind, left, top }): Promise<OverlayOptions> => {
      return { input: await framed(picture, kind, cellWidth, cellHeight), left, top };
    }),
  );
  const canvas = {
    width: gap + queryGap + (topK + 1) * columnStep,
    height: gap + lists.length * rowStep,
    channels: 3 as const,
    background: "#ffffff",
  };
  return sharp({ create: canvas }).composite(layers).png({ palette: true, effort: 7 }).toBuffer();
}

async function framed(picture: Picture, kind: keyof typeof FRAME_COLOURS, width: number, height: number) {
  const line = Math.max(2, Math.round(width / 24));
  const mark = Math.round(width / 4);
  const badge =
    kind === "query"
      ? ""
      : `<svg x="${width - mark}" y="0" width="${mark}" height="${mark}" viewBox="0 0 16 16">
           <rect width="16" height="16" fill="${FRAME_COLOURS[kind]}"/>
           <path d="${MARK_STROKES[kind]}" fill="none" stroke="#fff" stroke-width="2"/>
         </svg>`;
  const frame = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
      <rect x="${line / 2}" y="${line / 2}" width="${width - line}" height="${height - line}" fill="none"
        stroke="${FRAME_COLOURS[kind]}" stroke-width="${line}"/>${badge}</svg>`;
  try {
    return await open(picture)
      .resize(width, height, { fit: "fill" })
      .removeAlpha()
      .composite([{ input: Buffer.from(frame) }])
      .png()
      .toBuffer();
  } catch (cause) {
    throw new UserError(`Cannot draw the ranked list: image ${picture.label} cannot be read.`, { cause });
  }
}
