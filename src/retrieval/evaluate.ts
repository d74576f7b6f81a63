/** Single-query evaluation of a network on a dataset (Sec. 5): features, cosine similarities, CMC and mAP. */
import type { Dataset, Sample } from "../data/dataset.js";
import type { DecodePool } from "../data/decode-pool.js";
import type { OnUnreadable } from "../data/loader.js";
import { UserError } from "../errors.js";
import type { Device } from "../gpu/device.js";
import { Program } from "../graph/program.js";
import { input } from "../graph/tensor.js";
import { matmul } from "../ops/index.js";
import type { Extraction, Extractor } from "./extractor.js";
import { evaluateRanking, type Labels, type RankingInput, type RankingResult } from "./metrics.js";
import { cosineSimilarity, type Features, type SimilarityTiles } from "./similarity.js";

export interface DatasetEvaluation {
  readonly result: RankingResult;
  readonly query: Extraction;
  readonly gallery: Extraction;
  /** For ranked lists of the same features. */
  readonly ranking: RankingInput;
  readonly extractSeconds: number;
  readonly rankSeconds: number;
  /** Frees what `ranking` holds on the GPU. */
  readonly release: () => void;
}

/** Products above which the GPU computes the similarities: a float64 loop on the CPU does some 4e8 a second. */
const GPU_FROM = 4e9;

export async function evaluateDataset(
  device: Device,
  extractor: Extractor,
  dataset: Dataset,
  pool: DecodePool,
  options: { onProgress?: (done: number, total: number) => void; onUnreadable?: OnUnreadable } = {},
): Promise<DatasetEvaluation> {
  const { onProgress, onUnreadable } = options;
  const total = dataset.query.length + dataset.gallery.length;
  const started = performance.now();
  const query = await extractor.ofSamples(dataset.query, pool, (done) => onProgress?.(done, total), onUnreadable);
  const offset = dataset.query.length;
  const gallery = await extractor.ofSamples(
    dataset.gallery,
    pool,
    (done) => onProgress?.(offset + done, total),
    onUnreadable,
  );
  const extracted = performance.now();
  const labels = labelsOf(dataset, query, gallery);
  const features = { query: query.features, gallery: gallery.features, dim: extractor.dim };
  const { similarity, destroy } = await similaritiesOf(device, features);
  const ranking = { ...labels, similarity };
  const result = await evaluateRanking(ranking);
  const seconds = (from: number, to: number) => (to - from) / 1000;
  return {
    result,
    query,
    gallery,
    ranking,
    extractSeconds: seconds(started, extracted),
    rankSeconds: seconds(extracted, performance.now()),
    release: destroy,
  };
}

/** Cosine similarities of two sets, by the GPU where that is worth it; `destroy` frees what they hold there. */
export async function similaritiesOf(
  device: Device,
  features: Features,
): Promise<{ similarity: SimilarityTiles; destroy: () => void }> {
  const products = (features.query.length * features.gallery.length) / features.dim;
  return products > GPU_FROM
    ? gpuSimilarity(device, features)
    : { similarity: cosineSimilarity(features), destroy: () => {} };
}

function labelsOf(dataset: Dataset, query: Extraction, gallery: Extraction): Labels {
  const of = (samples: readonly Sample[], { indices }: Extraction, key: "pid" | "camid") =>
    Int32Array.from(indices, (i) => samples[i][key]);
  return {
    queryIds: of(dataset.query, query, "pid"),
    queryCams: of(dataset.query, query, "camid"),
    galleryIds: of(dataset.gallery, gallery, "pid"),
    galleryCams: of(dataset.gallery, gallery, "camid"),
  };
}

const QUERY_TILE = 64;
const GALLERY_TILE = 2048;

/** Cosine similarities by the GPU, a tile of queries against a tile of the gallery at a time: memory stays bounded. */
export async function gpuSimilarity(
  device: Device,
  { query, gallery, dim }: { query: Float32Array; gallery: Float32Array; dim: number },
): Promise<{ similarity: SimilarityTiles; destroy: () => void }> {
  const [queries, entries] = [query.length / dim, gallery.length / dim];
  const rows = Math.min(QUERY_TILE, queries);
  const columns = Math.min(GALLERY_TILE, entries);
  const a = input("query", [rows, dim]);
  const b = input("gallery", [columns, dim]);
  const program = await Program.compile(device, { outputs: { tile: matmul(a, b, { transposeB: true }) } });
  const units = { query: normalized(query, dim), gallery: normalized(gallery, dim) };

  async function similarity(start: number, end: number): Promise<Float32Array> {
    const result = new Float32Array((end - start) * entries);
    for (let q = start; q < end; q += rows) {
      for (let g = 0; g < entries; g += columns) {
        const { tile } = await program.run(
          { query: padded(units.query, q, rows, dim), gallery: padded(units.gallery, g, columns, dim) },
          ["tile"],
        );
        const kept = Math.min(columns, entries - g);
        for (let r = q; r < Math.min(q + rows, end); r++) {
          const row = (tile as Float32Array).subarray((r - q) * columns, (r - q) * columns + kept);
          result.set(row, (r - start) * entries + g);
        }
      }
    }
    return result;
  }
  return { similarity, destroy: () => program.destroy() };
}

/** Rows of unit length; a row of zeros stays zero. */
function normalized(features: Float32Array, dim: number): Float32Array {
  const result = new Float32Array(features.length);
  for (let at = 0; at < features.length; at += dim) {
    let square = 0;
    for (let i = at; i < at + dim; i++) square += features[i] ** 2;
    if (!Number.isFinite(square))
      throw new UserError(
        `The features of image ${at / dim} are not finite. Were the weights saved after a diverged step?`,
      );
    const inverse = 1 / Math.max(Math.sqrt(square), 1e-12);
    for (let i = at; i < at + dim; i++) result[i] = features[i] * inverse;
  }
  return result;
}

function padded(features: Float32Array, row: number, rows: number, dim: number): Float32Array {
  const part = features.subarray(row * dim, (row + rows) * dim);
  if (part.length === rows * dim) return part;
  const full = new Float32Array(rows * dim);
  full.set(part);
  return full;
}
