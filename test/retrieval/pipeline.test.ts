/** The pipeline from files to representations, with a decoder and a GPU of any speed. */
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import { ImageError, type RgbImage } from "#src/data/image.js";
import { boundBy, paceOf, representSamples } from "#src/retrieval/pipeline.js";
import { userError } from "../data/helpers.js";
import { VirtualTime } from "../support/virtual-time.js";

const samplesOf = (count: number): Sample[] =>
  Array.from({ length: count }, (_, i) => ({ path: String(i), name: `${i}.jpg`, pid: 1, camid: 1 }));

/** Image `i` is one pixel of the red `i`, and its representation is [i, -i]. */
const imageOf = (path: string): RgbImage => ({ width: 1, height: 1, data: Uint8Array.of(Number(path), 0, 0) });
const represent = (images: readonly RgbImage[]) => Float32Array.from(images.flatMap(({ data }) => [data[0], -data[0]]));
const rowsOf = (indices: ArrayLike<number>) => Float32Array.from(Array.from(indices, (i) => [i, -i]).flat());

/** One image after the other, each in so many milliseconds. */
function decoderOf(milliseconds: (path: string) => number, pause: (milliseconds: number) => Promise<unknown> = sleep) {
  let queue: Promise<unknown> = Promise.resolve();
  return {
    decode: (path: string): Promise<RgbImage> => {
      const done = queue.then(() => pause(milliseconds(path))).then(() => imageOf(path));
      queue = done;
      return done;
    },
  };
}

/** One batch after the other, each in so many milliseconds. */
function gpuOf(milliseconds: number, batch = 4, pause: (milliseconds: number) => Promise<unknown> = sleep) {
  let queue: Promise<unknown> = Promise.resolve();
  return {
    dim: 2,
    batch,
    ofImages: (images: readonly RgbImage[]): Promise<Float32Array> => {
      const done = queue.then(() => pause(milliseconds)).then(() => represent(images));
      queue = done;
      return done;
    },
  };
}

for (const { slow, decode, gpu } of [
  { slow: "decoder", decode: 12, gpu: 4 },
  { slow: "GPU", decode: 1, gpu: 60 },
] as const) {
  test(`a slow ${slow} is named, and the other one is idle most of the time`, async () => {
    const time = new VirtualTime();
    const pause = (milliseconds: number) => time.sleep(milliseconds);
    const { features, indices, pace } = await time.run(() =>
      representSamples(
        samplesOf(30),
        decoderOf(() => decode, pause),
        gpuOf(gpu, 4, pause),
      ),
    );
    assert.equal(features, rowsOf(indices));
    assert.equal(
      [...indices],
      Array.from({ length: 30 }, (_, i) => i),
    );
    assert.is(boundBy(pace), slow);
    assert.is(pace.images, 30);
    const [busy, other] =
      slow === "GPU" ? [pace.gpuSeconds, pace.decoderSeconds] : [pace.decoderSeconds, pace.gpuSeconds];
    assert.ok(busy > 0.8 * pace.seconds && busy <= pace.seconds, `busy for ${busy} of ${pace.seconds} s`);
    assert.ok(other < 0.6 * pace.seconds && other > 0, `the other one for ${other} of ${pace.seconds} s`);
    assert.is(boundBy(paceOf([pace, pace])), slow);
    assert.is(paceOf([pace, { ...pace, images: 3, seconds: 0 }]).images, 33);
  });
}

test("while the GPU has a batch, the next one lies behind it and two more are decoded", async () => {
  const asked: string[] = [];
  const submitted: number[][] = [];
  const finish: (() => void)[] = [];
  const running = representSamples(
    samplesOf(12),
    {
      decode: async (path) => {
        asked.push(path);
        return imageOf(path);
      },
    },
    {
      dim: 2,
      batch: 2,
      ofImages: async (images) => {
        submitted.push(images.map(({ data }) => data[0]));
        await new Promise<void>((resolve) => finish.push(resolve));
        return represent(images);
      },
    },
  );
  const settled = () => sleep(20);
  await settled();
  assert.equal(submitted, [
    [0, 1],
    [2, 3],
  ]);
  assert.is(asked.length, 8);
  finish[0]();
  await settled();
  assert.equal(submitted.slice(2), [[4, 5]]);
  assert.is(asked.length, 10);
  for (let i = 1; i < 6; i++) {
    finish[i]();
    await settled();
  }
  const { features, indices } = await running;
  assert.equal(features, rowsOf(indices));
  assert.is(indices.length, 12);
});

test("order is kept where decoding is uneven", async () => {
  // Many at once, later ones of a batch first.
  const decode = async (path: string) => {
    await sleep(20 - 3 * (Number(path) % 5));
    return imageOf(path);
  };
  const progress: number[] = [];
  const network = gpuOf(1, 5);
  const { features, indices } = await representSamples(samplesOf(23), { decode }, network, (done) => {
    progress.push(done);
  });
  assert.equal(features, rowsOf(Array.from({ length: 23 }, (_, i) => i)));
  assert.is(indices.length, 23);
  assert.equal(progress, [5, 10, 15, 20, 23]);
});

test("an image that cannot be read is told by its name, and costs no other one its features", async () => {
  const good = decoderOf(() => 1);
  const decode = async (path: string) => {
    if (path === "9" || path === "22") throw new ImageError(path, "the file is empty");
    return good.decode(path);
  };
  const told: string[] = [];
  const readable = Array.from({ length: 23 }, (_, i) => i).filter((i) => i !== 9 && i !== 22);
  const { features, indices, pace } = await representSamples(
    samplesOf(23),
    { decode },
    gpuOf(2),
    undefined,
    (sample, error) => told.push(`${sample.name}: ${error.reason}`),
  );
  assert.equal(told, ["9.jpg: the file is empty", "22.jpg: the file is empty"]);
  assert.equal([...indices], readable);
  assert.equal(features, rowsOf(readable));
  assert.is(pace.images, 21);
  // Strictly: its name, once what the GPU has is back.
  const gpu = gpuOf(30);
  let [begun, ended] = [0, 0];
  const counting = {
    ...gpu,
    ofImages: async (images: readonly RgbImage[]) => {
      begun++;
      const rows = await gpu.ofImages(images);
      ended++;
      return rows;
    },
  };
  const error = await userError(() => representSamples(samplesOf(23), { decode }, counting));
  assert.ok(error instanceof ImageError && error.path === "9");
  assert.ok(begun > 0 && begun === ended, `${begun} batches begun, ${ended} ended`);
});

test("a GPU that fails ends the list with its error, and nothing is left to fail unseen", async () => {
  let batches = 0;
  const ofImages = async (images: readonly RgbImage[]) => {
    const number = batches++;
    await sleep(5);
    if (number >= 1) throw new Error(`batch ${number} is lost`);
    return represent(images);
  };
  let message = "";
  try {
    await representSamples(
      samplesOf(23),
      decoderOf(() => 0),
      { dim: 2, batch: 4, ofImages },
    );
  } catch (error) {
    message = (error as Error).message;
  }
  assert.is(message, "batch 1 is lost");
});

test("what onProgress throws ends the list, once what the GPU has is back", async () => {
  let [begun, ended] = [0, 0];
  const ofImages = async (images: readonly RgbImage[]) => {
    begun++;
    await sleep(5);
    ended++;
    return represent(images);
  };
  const enough = new Error("enough");
  const network = { dim: 2, batch: 4, ofImages };
  const decoder = decoderOf(() => 0);
  const error = await representSamples(samplesOf(400), decoder, network, (done) => {
    if (done >= 8) throw enough;
  }).catch((error) => error);
  assert.is(error, enough);
  assert.ok(begun <= 4 && begun === ended, `${begun} batches begun, ${ended} ended`);
});

test("an empty list", async () => {
  const { features, indices, pace } = await representSamples(
    [],
    decoderOf(() => 0),
    gpuOf(0),
  );
  assert.equal([features.length, indices.length, pace.images, pace.gpuSeconds], [0, 0, 0, 0]);
});

test.run();
