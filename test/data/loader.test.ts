import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadDataset, type Sample, trainIdentities } from "#src/data/dataset.js";
import { DecodePool } from "#src/data/decode-pool.js";
import { ImageError, type RgbImage } from "#src/data/image.js";
import { imageBatches, type TrainBatch, trainBatches } from "#src/data/loader.js";
import { PkSampler } from "#src/data/sampler.js";
import { picture, put, userError, withFolder } from "./helpers.js";

const OPTIONS = { subjects: 2, images: 3, seed: 4 };

/** Three people with four images each; the red of a picture is its place in the list. */
async function putDataset(root: string, broken: number[] = []): Promise<Sample[]> {
  for (let i = 0; i < 12; i++) {
    const name = `000${1 + Math.floor(i / 4)}_c1_${i % 4}.jpg`;
    const file = await picture(6, 8, [i * 10, 0, 0], "png");
    await put(join(root, "bounding_box_train", name), broken.includes(i) ? file.subarray(0, 50) : file);
  }
  return (await loadDataset(root, ["train"])).train;
}

const samplerOf = (samples: Sample[]) => new PkSampler(trainIdentities(samples).labels, OPTIONS);
const shown = (images: RgbImage[]) => images.map(({ data }) => data[0] / 10);

async function take(batches: AsyncGenerator<TrainBatch, void>, count: number): Promise<TrainBatch[]> {
  const taken: TrainBatch[] = [];
  for await (const batch of batches) if (taken.push(batch) === count) break;
  return taken;
}

async function withPool(body: (pool: DecodePool) => Promise<void>) {
  const pool = new DecodePool({ workers: 2 });
  try {
    await body(pool);
  } finally {
    await pool.close();
  }
}

test("batches are the sampler's, whatever the depth", () =>
  withFolder((root) =>
    withPool(async (pool) => {
      const samples = await putDataset(root);
      for (const depth of [0, 1, 5]) {
        const batches = await take(trainBatches({ samples, pool, depth, sampler: samplerOf(samples) }), 4);
        const fresh = samplerOf(samples);
        for (const [n, { number, indices, images, next }] of batches.entries()) {
          assert.is(number, n);
          assert.equal(indices, fresh.next());
          assert.equal(shown(images), indices);
          assert.equal(next, fresh.getState());
        }
      }
    }),
  ));

test("a run resumed from a batch's state goes on as if never stopped", () =>
  withFolder((root) =>
    withPool(async (pool) => {
      const samples = await putDataset(root, [1, 2, 9]);
      const { labels } = trainIdentities(samples);
      const whole = await take(trainBatches({ samples, pool, sampler: samplerOf(samples) }), 8);
      const state = JSON.parse(JSON.stringify(whole[3].next));
      const rest = await take(trainBatches({ samples, pool, sampler: PkSampler.fromState(labels, state) }), 4);
      assert.equal(rest, whole.slice(4));
    }),
  ));

test("an unreadable image is replaced by one of the same person and told once", () =>
  withFolder((root) =>
    withPool(async (pool) => {
      const broken = [0, 5, 6, 11];
      const samples = await putDataset(root, broken);
      const told: string[] = [];
      const onUnreadable = (sample: Sample, error: ImageError) => {
        assert.is(error.path, sample.path);
        told.push(sample.name);
      };
      const drawn = samplerOf(samples);
      const batches = await take(trainBatches({ samples, pool, sampler: samplerOf(samples), onUnreadable }), 20);
      for (const { indices, images } of batches) {
        const wanted = drawn.next();
        assert.equal(shown(images), indices);
        for (const [i, index] of indices.entries()) {
          assert.not(broken.includes(index));
          assert.is(samples[index].pid, samples[wanted[i]].pid);
          if (!broken.includes(wanted[i])) assert.is(index, wanted[i]);
        }
      }
      assert.equal(
        told.sort(),
        broken.map((i) => samples[i].name),
      );
    }),
  ));

test("a person without any readable image ends the run by name", () =>
  withFolder((root) =>
    withPool(async (pool) => {
      const samples = await putDataset(root, [4, 5, 6, 7]);
      const { message } = await userError(() => take(trainBatches({ samples, pool, sampler: samplerOf(samples) }), 20));
      assert.match(message, "None of the 4 training images of person 2 can be read");
    }),
  ));

test("decoding runs ahead of the consumer", () =>
  withFolder(async (root) => {
    const samples = await putDataset(root);
    const started: string[] = [];
    const pool = new DecodePool({ workers: 1 });
    const decode = pool.decode.bind(pool);
    pool.decode = (path) => {
      started.push(path);
      return decode(path);
    };
    const batches = imageBatches({ samples, pool, batchSize: 2, depth: 2 });
    await batches.next();
    assert.is(started.length, 6);
    await batches.next();
    assert.is(started.length, 8);
    await batches.return();
    await pool.close();
  }));

test("image batches keep the order; unreadable ones fail or are left out", () =>
  withFolder((root) =>
    withPool(async (pool) => {
      const collect = async (samples: Sample[], onUnreadable?: () => void) => {
        const all: number[][] = [];
        for await (const { indices, images } of imageBatches({ samples, pool, batchSize: 5, onUnreadable })) {
          assert.equal(shown(images), indices);
          all.push(indices);
        }
        return all;
      };
      assert.equal(await collect(await putDataset(root)), [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11],
      ]);
      const samples = await putDataset(root, [3, 10, 11]);
      let skipped = 0;
      assert.equal(await collect(samples, () => skipped++), [
        [0, 1, 2, 4],
        [5, 6, 7, 8, 9],
      ]);
      assert.is(skipped, 3);
      const error = await userError(() => collect(samples));
      assert.ok(error instanceof ImageError && error.path === samples[3].path);
    }),
  ));

test.run();
