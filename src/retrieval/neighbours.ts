/** The nearest neighbours of every image among all, by the GPU: of the N x N similarities only the best are ever read. */
import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { Block, input, variable } from "../graph/tensor.js";
import { topK } from "../ops/index.js";
import { alignedRows, blockFeeds, blockInputs, cosineTile, EXACT, inverseLengths } from "./gpu-similarity.js";
import type { Features } from "./similarity.js";

/** Neighbours of N images: the queries, numbered from 0, then the gallery, unless that is the same set. */
export interface Neighbours {
  /** Neighbours of each image: as many as were asked for, or all. */
  readonly count: number;
  /** [N, count]: the nearest first, which is the image itself or one as near; ties by number. */
  readonly indices: Uint32Array;
  /** [N, count]: their cosine similarities. */
  readonly similarities: Float32Array;
  /** [N]: the similarity to the image farthest away. */
  readonly least: Float32Array;
}

export interface NeighbourOptions {
  /** Images of a tile's side. The adapter's memory is some 24 bytes x side x dim. Default 2048. */
  block?: number;
  /** Tiles done; half of the matrix is enough, as it is symmetric. */
  onProgress?: (done: number, total: number) => void;
  /** Ends the work after the tile, with its reason. */
  signal?: AbortSignal;
}

const STORAGE = 0x80;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;

/** Images that are uploaded together. */
interface Part {
  readonly set: "query" | "gallery";
  readonly start: number;
  readonly end: number;
  /** Number of the first one among all images. */
  readonly first: number;
}

/**
 * Finds the `keep` nearest neighbours under the cosine similarity of float32 features.
 *
 * @throws UserError when a feature is not finite
 */
export async function nearestNeighbours(
  device: Device,
  { query, gallery, dim }: Features,
  keep: number,
  { block = 2048, ...watched }: NeighbourOptions = {},
): Promise<Neighbours> {
  const sets = { query, gallery };
  const inverse = { query: inverseLengths(query, dim, "query"), gallery: inverseLengths(gallery, dim, "gallery") };
  const further = query === gallery ? 0 : inverse.gallery.length;
  const images = inverse.query.length + further;
  const count = Math.min(keep, images);
  const fitting = Math.floor(device.profile.maxBindingBytes / (4 * dim * 64)) * 64;
  const side = Math.min(alignedRows(Math.min(block, images)), Math.max(fitting, 64));
  const parts = [
    ...partsOf("query", inverse.query.length, 0, side),
    ...partsOf("gallery", further, inverse.query.length, side),
  ];

  const blocks: Block[] = [];
  const state = (name: string, shape: number[], dtype: "f32" | "u32", data: Float32Array | Uint32Array) => {
    const own = new Block(name);
    own.bytes = data.byteLength;
    own.buffer = device.buffer(name, data.byteLength, STORAGE | COPY_SRC | COPY_DST);
    device.gpu.queue.writeBuffer(own.buffer, 0, data as Float32Array<ArrayBuffer>);
    blocks.push(own);
    return variable(name, shape, own, 0, dtype);
  };
  let program: Program | null = null;
  try {
    const start = {
      values: state("values", [count, images], "f32", new Float32Array(count * images).fill(-2)),
      indices: state("indices", [count, images], "u32", new Uint32Array(count * images).fill(0xffffffff)),
      least: state("least", [images], "f32", new Float32Array(images).fill(2)),
    };
    const place = input("place", [2, 4], "u32");
    const tile = cosineTile(blockInputs("a", side, dim), blockInputs("b", side, dim));
    // A tile off the diagonal stands for its mirror image too.
    const half = topK(tile, place, start, "columns", 0);
    const { values, indices, least } = topK(tile, place, half, "rows", 1);
    program = await Program.compile(device, { outputs: { values, indices, least }, ...EXACT });
    await foldTiles(device, program, parts, sets, inverse, watched);
    // Nothing lies in this place, so that the lists are read as they are.
    const lists = await program.run({ place: new Uint32Array(8) }, ["values", "indices", "least"]);
    return {
      count,
      indices: byImage(lists.indices as Uint32Array, new Uint32Array(count * images), images),
      similarities: byImage(lists.values as Float32Array, new Float32Array(count * images), images),
      least: lists.least as Float32Array,
    };
  } finally {
    program?.destroy();
    for (const { buffer } of blocks) if (buffer) device.release(buffer);
  }
}

async function foldTiles(
  device: Device,
  program: Program,
  parts: readonly Part[],
  sets: Readonly<Record<Part["set"], Float32Array>>,
  inverse: Readonly<Record<Part["set"], Float32Array>>,
  { onProgress, signal }: Pick<NeighbourOptions, "onProgress" | "signal">,
): Promise<void> {
  const feeds = (name: string, { set, start, end }: Part) => blockFeeds(name, sets[set], inverse[set], start, end);
  const total = (parts.length * (parts.length + 1)) / 2;
  let done = 0;
  let before: Promise<void> = Promise.resolve();
  try {
    for (const [i, a] of parts.entries()) {
      program.feed(feeds("a", a));
      for (const b of parts.slice(i)) {
        signal?.throwIfAborted();
        const mirrored = a === b ? [0, 0, 0, 0] : [a.first, a.end - a.start, b.first, b.end - b.start];
        const place = Uint32Array.of(b.first, b.end - b.start, a.first, a.end - a.start, ...mirrored);
        void program.run({ ...feeds("b", b), place });
        // One tile is uploaded while another one is made; more would pile up in memory.
        const finished = device.idle();
        finished.catch(() => {}); // It is awaited in the next turn.
        await before;
        before = finished;
        onProgress?.(done++, total);
      }
    }
    await before;
  } finally {
    await Promise.allSettled([before]);
  }
  onProgress?.(total, total);
}

function partsOf(set: Part["set"], images: number, first: number, side: number): Part[] {
  return Array.from({ length: Math.ceil(images / side) }, (_, i) => ({
    set,
    start: i * side,
    end: Math.min((i + 1) * side, images),
    first: first + i * side,
  }));
}

/** [count, images] -> [images, count]. */
function byImage<T extends Float32Array | Uint32Array>(lists: T, result: T, images: number): T {
  const count = lists.length / images;
  for (let image = 0; image < images; image++) {
    for (let slot = 0; slot < count; slot++) result[image * count + slot] = lists[slot * images + image];
  }
  return result;
}
