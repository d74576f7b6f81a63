/**
 * What it would be worth to divide test images by true part locations: `node --import tsx bench/aligned.ts <dataset> <checkpoint>...`
 * compares the MTs' features h, which see the whole map, with the ATs' g, given the prior of each query and gallery picture from its own
 * maps (`mpn synth --test-maps` writes such), and with both side by side. Single queries, no flip.
 */

import { loadDataset, type Sample } from "#src/data/dataset.js";
import { decodeImage } from "#src/data/image.js";
import { maxPicturePixels, packImages } from "#src/data/image-batch.js";
import { placeOf } from "#src/data/perturb.js";
import { findMaps, priorFromMaps } from "#src/data/prior-maps.js";
import { UserError } from "#src/errors.js";
import { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { input, type Tensor } from "#src/graph/tensor.js";
import { featureSize } from "#src/models/config.js";
import { taskFeatures } from "#src/models/mpn.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { IMAGE_TABLE_COLUMNS, prepareImages } from "#src/ops/index.js";
import { evaluateRanking } from "#src/retrieval/metrics.js";
import { percent, table } from "#src/text.js";
import { openCheckpoint } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";

const BATCH = 32;

const [root, ...checkpoints] = process.argv.slice(2);
if (root === undefined || checkpoints.length === 0) {
  console.error("usage: node --import tsx bench/aligned.ts <dataset> <checkpoint>...");
  process.exit(2);
}
const { query, gallery, ...dataset } = await loadDataset(root, ["query", "gallery"]);
const labels = {
  queryIds: Int32Array.from(query, ({ pid }) => pid),
  galleryIds: Int32Array.from(gallery, ({ pid }) => pid),
  queryCams: Int32Array.from(query, ({ camid }) => camid),
  galleryCams: Int32Array.from(gallery, ({ camid }) => camid),
};
const lines = [["", "features", "Rank-1", "mAP"]];
const device = await Device.open();
for (const path of checkpoints) {
  const checkpoint = await openCheckpoint(path);
  const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
  if (config.model !== "mpn") throw new UserError(`${path} is of ${config.model}, which has no tasks to compare.`);
  const [height, width] = config.imageSize;
  const [rows, cols] = featureSize(config.imageSize);
  const bytes = input("bytes", [Math.ceil((BATCH * maxPicturePixels(config.imageSize) * 3) / 4)], "u32");
  const images = prepareImages(bytes, input("table", [BATCH, IMAGE_TABLE_COLUMNS], "i32"), height, width, {});
  const prior = { mask: input("mask", [BATCH, rows, cols]), roi: input("roi", [BATCH, 4]) };
  const store = new ParameterStore();
  const features = Object.entries(taskFeatures(new Build(store, false), config, images, prior));
  const outputs = Object.fromEntries(features.filter((entry): entry is [string, Tensor] => entry[1] !== null));
  store.allocate(device, null);
  const program = await Program.compile(device, { outputs });
  await checkpoint.restore(device, store).finally(checkpoint.close);

  /** Features by name, [samples, dim] each, of unit length, and how many priors are reliable. */
  const represent = async (samples: readonly Sample[]) => {
    const maps = await findMaps(dataset.root, samples);
    const dim = config.parts * config.partDim;
    const result = Object.fromEntries(
      Object.keys(outputs).map((name) => [name, new Float32Array(samples.length * dim)]),
    );
    let reliable = 0;
    for (let start = 0; start < samples.length; start += BATCH) {
      const part = samples.slice(start, start + BATCH);
      const pictures = await Promise.all(
        part.map(({ path }) => decodeImage(path, { maxPixels: maxPicturePixels(config.imageSize) })),
      );
      const slots = Array.from({ length: BATCH }, (_, i) => ({ image: i < part.length ? i : 0 }));
      const mask = new Float32Array(BATCH * rows * cols);
      const roi = new Float32Array(BATCH * 4);
      for (const [i, sample] of part.entries()) {
        const settings = { rows, cols, labels: checkpoint.config.labels };
        const found = await priorFromMaps(placeOf(sample), maps[start + i], settings);
        if (found.reliable) reliable++;
        mask.set(found.mask, i * rows * cols);
        roi.set([found.top, 0, found.bottom, cols], 4 * i);
      }
      const feeds = Object.entries({ ...packImages(pictures, slots), mask, roi }).filter(([name]) =>
        program.takes(name),
      );
      const values = await program.run(Object.fromEntries(feeds), Object.keys(outputs));
      for (const name of Object.keys(outputs))
        for (let i = 0; i < part.length; i++) {
          const row = values[name].slice(i * dim, (i + 1) * dim) as Float32Array;
          const length = Math.hypot(...row);
          result[name].set(
            row.map((v) => v / length),
            (start + i) * dim,
          );
        }
    }
    return { dim, reliable, features: result };
  };
  const [q, g] = [await represent(query), await represent(gallery)];
  program.destroy();
  store.destroy(device);
  const add = async (name: string, dim: number, of: (set: typeof q.features) => Float32Array) => {
    const { cmc, mAP } = await evaluateRanking({ ...labels, query: of(q.features), gallery: of(g.features), dim });
    lines.push([path, name, percent(cmc[0]), percent(mAP)]);
  };
  const share = percent((q.reliable + g.reliable) / (query.length + gallery.length));
  if (outputs.h) await add("h, of the whole map", q.dim, ({ h }) => h);
  if (outputs.g) await add(`g, by the picture's own maps (${share} reliable)`, q.dim, (set) => set.g);
  if (outputs.h && outputs.g) await add("both", 2 * q.dim, (set) => beside(set.h, set.g, q.dim));
}
device.close();
for (const line of table(lines, 2)) console.log(line);

/** Rows of both, one after the other. */
function beside(a: Float32Array, b: Float32Array, dim: number): Float32Array {
  const both = new Float32Array(2 * a.length);
  for (let i = 0; i < a.length / dim; i++) {
    both.set(a.subarray(i * dim, (i + 1) * dim), 2 * i * dim);
    both.set(b.subarray(i * dim, (i + 1) * dim), (2 * i + 1) * dim);
  }
  return both;
}
