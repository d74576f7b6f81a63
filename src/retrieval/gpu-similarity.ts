/** Cosine similarities (eq. 11) by the GPU, tile by tile: no copy of the features and no whole matrix is ever made. */
import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { input, type Tensor } from "../graph/tensor.js";
import { conv2d, mul, reshape, transpose } from "../ops/index.js";
import { cosineSimilarity, type Features, rankingBlock, rowLengths, type SimilarityTiles } from "./similarity.js";

/** Gallery images of a tile. */
const COLUMNS = 2048;
/** Queries up to which a tile is not worth its padding. */
const FEW = 4;
/** Rows are rounded up to these, so that sets of any size share pipelines and read whole vectors. */
const ALIGN = 64;

/** Products above which the GPU computes the similarities: a float64 loop on the CPU does some 4e8 a second. */
const GPU_FROM = 4e9;

/** Cosine similarities of two sets, by the GPU where that is worth it; `destroy` frees what they hold there. */
export async function similaritiesOf(
  device: Device,
  features: Features,
  signal?: AbortSignal,
): Promise<{ similarity: SimilarityTiles; destroy: () => void }> {
  const products = (features.query.length * features.gallery.length) / features.dim;
  return products > GPU_FROM
    ? gpuSimilarity(device, features, { signal })
    : { similarity: cosineSimilarity(features, signal), destroy: () => {} };
}

export const alignedRows = (rows: number) => Math.ceil(rows / ALIGN) * ALIGN;

/** A block of images as a program takes it: features [rows, dim] as they are, and the inverse of each one's length. */
export interface BlockInputs {
  readonly features: Tensor;
  readonly inverse: Tensor;
}

export function blockInputs(name: string, rows: number, dim: number): BlockInputs {
  return { features: input(name, [rows, dim]), inverse: input(`${name} inverse`, [rows, 1]) };
}

/** What to feed for rows `start` to `end` of a set; the rest of the block keeps what it held. */
export function blockFeeds(name: string, features: Float32Array, inverse: Float32Array, start: number, end: number) {
  const dim = features.length / inverse.length;
  const bytes = (array: Float32Array, from: number, to: number) =>
    new Uint8Array(array.buffer, array.byteOffset + 4 * from, 4 * (to - from));
  return { [name]: bytes(features, start * dim, end * dim), [`${name} inverse`]: bytes(inverse, start, end) };
}

/** How programs of similarities are compiled: ranks are of the features as they are, however the network's were made. */
export const EXACT = { matrixUnits: false } as const;

/** Cosines between all rows of two blocks, [rows of a, rows of b], by the convolution's kernel, the fastest product here. */
export function cosineTile(a: BlockInputs, b: BlockInputs): Tensor {
  const [rows, dim] = a.features.shape;
  const columns = b.features.shape[0];
  const unit = ({ features, inverse }: BlockInputs) => mul(features, inverse);
  const product = conv2d(reshape(unit(a), [1, rows, 1, dim]), reshape(transpose(unit(b)), [1, 1, dim, columns]));
  return reshape(product, [rows, columns]);
}

/** Inverse length of each row. @throws UserError when a feature is not finite, or rows are not whole */
export function inverseLengths(features: Float32Array, dim: number, name: string): Float32Array {
  return Float32Array.from(rowLengths(features, dim, name), (length) => 1 / length);
}

/**
 * Cosine similarity on the GPU. Memory beside the features: tiles of at most [`block`, 2048], a block of the gallery, and
 * the rows that a call asks for.
 *
 * @param options.block queries of a tile
 * @param options.signal rows that are being made when it is aborted reject with its reason
 * @throws UserError when the lengths are no multiple of `dim`, or a feature is not finite
 */
export async function gpuSimilarity(
  device: Device,
  features: Features,
  options: { block?: number; signal?: AbortSignal } = {},
): Promise<{ similarity: SimilarityTiles; destroy: () => void }> {
  const { query, gallery, dim } = features;
  const { block = rankingBlock(gallery.length / dim), signal } = options;
  const inverse = { query: inverseLengths(query, dim, "query"), gallery: inverseLengths(gallery, dim, "gallery") };
  const entries = inverse.gallery.length;
  const rows = alignedRows(Math.min(block, inverse.query.length));
  const columns = alignedRows(Math.min(COLUMNS, entries));
  const tile = cosineTile(blockInputs("query", rows, dim), blockInputs("gallery", columns, dim));
  const program = await Program.compile(device, { outputs: { tile }, ...EXACT });
  const few = cosineSimilarity(features);

  async function similarity(start: number, end: number): Promise<Float32Array | Float64Array> {
    if (end - start <= FEW) return few(start, end);
    const result = new Float32Array((end - start) * entries);
    let copied: Promise<void> = Promise.resolve();
    try {
      for (let q = start; q < end; q += rows) {
        const last = Math.min(q + rows, end);
        program.feed(blockFeeds("query", query, inverse.query, q, last));
        for (let g = 0; g < entries; g += columns) {
          signal?.throwIfAborted();
          const kept = Math.min(columns, entries - g);
          const read = program.run(blockFeeds("gallery", gallery, inverse.gallery, g, g + kept), ["tile"]);
          // The GPU makes this tile while the one before it is read.
          const before = copied;
          copied = read.then(async ({ tile }) => {
            await before;
            for (let r = 0; r < last - q; r++) {
              const row = (tile as Float32Array).subarray(r * columns, r * columns + kept);
              result.set(row, (q - start + r) * entries + g);
            }
          });
          copied.catch(() => {}); // It is awaited below, perhaps after another one has failed.
          await before;
        }
      }
      await copied;
    } finally {
      // What is still on its way must arrive before its memory goes.
      await Promise.allSettled([copied]);
    }
    return result;
  }
  return { similarity, destroy: () => program.destroy() };
}
