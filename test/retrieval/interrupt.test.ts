/** What ends an evaluation before its time: each stage of extraction, ranking and re-ranking. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import { datasetOf } from "#src/data/datasets/types.js";
import type { DecodePool } from "#src/data/decode-pool.js";
import { seededRng, uniform } from "#src/random.js";
import { evaluateDataset, rankFeatures } from "#src/retrieval/evaluate.js";
import type { Extractor } from "#src/retrieval/extractor.js";
import { gpuSimilarity } from "#src/retrieval/gpu-similarity.js";
import { evaluateRankings, type Labels } from "#src/retrieval/metrics.js";
import { rerankedSimilarity } from "#src/retrieval/rerank.js";
import { cosineSimilarity, type Features } from "#src/retrieval/similarity.js";
import { closeDevice, sharedDevice } from "../support/op.js";

const STOPPED = new Error("stopped");

function featuresOf(queries: number, gallery: number, dim: number): Features {
  const rng = seededRng(1);
  const draw = (images: number) => Float32Array.from({ length: images * dim }, () => uniform(rng, -1, 1));
  return { query: draw(queries), gallery: draw(gallery), dim };
}

/** Ctrl-C: whoever is to notice has to let the event loop turn. */
function interrupted(): { signal: AbortSignal; soon: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, soon: () => void setImmediate(() => controller.abort(STOPPED)) };
}

async function stops(work: Promise<unknown>, what: string): Promise<void> {
  const outcome = await work.then(
    () => "came to its end",
    (error) => error,
  );
  assert.is(outcome, STOPPED, what);
}

test("a ranking ends after the block in which it was interrupted", async () => {
  const labels: Labels = { queryIds: [1, 1, 1], queryCams: [1, 1, 1], galleryIds: [1], galleryCams: [2] };
  for (const asynchronous of [false, true]) {
    const { signal, soon } = interrupted();
    const asked: number[] = [];
    const similarity = async (start: number) => {
      asked.push(start);
      if (start === 1) soon();
      if (asynchronous) await new Promise((resolve) => setTimeout(resolve));
      return Float32Array.of(0.5);
    };
    await stops(evaluateRankings(labels, [similarity], { block: 1, signal }), "the second of three blocks");
    assert.equal(asked, [0, 1]);
  }
});

test("cosines on the CPU and on the GPU end in the middle of a block, and the GPU goes on", async () => {
  const device = await sharedDevice();
  const features = featuresOf(512, 3000, 256);
  const cpu = interrupted();
  const rows = cosineSimilarity(features, cpu.signal)(0, 512);
  cpu.soon();
  await stops(rows, "float64 on the CPU");
  const gpu = interrupted();
  const { similarity, destroy } = await gpuSimilarity(device, features, { block: 64, signal: gpu.signal });
  const tiles = similarity(0, 512);
  gpu.soon();
  await stops(tiles, "tiles of the GPU");
  destroy();
  await device.idle();
});

test("re-ranking ends in the middle of each of its stages", async () => {
  const device = await sharedDevice();
  // More than are made without a pause.
  const features = featuresOf(130, 1200, 8);
  const cosine = cosineSimilarity(features);
  const STAGES = ["neighbours", "vectors", "index", "rows"] as const;
  for (const [i, stage] of STAGES.entries()) {
    const { signal, soon } = interrupted();
    const ended: string[] = [];
    if (i === 0) soon();
    const work = async () => {
      const similarity = await rerankedSimilarity(device, features, cosine, {
        block: 64,
        signal,
        onProgress: (phase, done, total) => {
          if (done < total) return;
          ended.push(phase);
          if (phase === STAGES[i - 1] && stage !== "rows") soon();
        },
      });
      if (stage === "rows") soon();
      await similarity(0, 130);
    };
    await stops(work(), stage);
    assert.equal(ended, STAGES.slice(0, i), `${stage} is not made to its end`);
  }
  await device.idle();
});

test("an evaluation hands its signal on to extraction, ranking and re-ranking", async () => {
  const device = await sharedDevice();
  const { query, gallery, dim } = featuresOf(6, 1200, 8);
  const sample =
    (set: string) =>
    (_: unknown, i: number): Sample => ({
      path: `${set} ${i}`,
      name: "",
      pid: 1 + (i % 3),
      camid: set === "query" ? 1 : 2,
    });
  const dataset = datasetOf({
    name: "one",
    root: "",
    layout: "folders",
    query: Array.from({ length: 6 }, sample("query")),
    gallery: Array.from({ length: 1200 }, sample("gallery")),
  });
  const events: string[] = [];
  const extractor = {
    dim,
    ofSamples: async (samples: readonly Sample[], _: unknown, onProgress: (done: number, total: number) => void) => {
      for (let done = 1; done <= 2; done++) {
        await new Promise((resolve) => setTimeout(resolve));
        onProgress(done, 2);
      }
      const pace = { images: samples.length, seconds: 1, gpuSeconds: 1, decoderSeconds: 1 };
      const features = samples === dataset.query ? query : gallery;
      return { features, dim, indices: Int32Array.from(samples.keys()), pace };
    },
  } as unknown as Extractor;
  const run = (event: string) => {
    const { signal, soon } = interrupted();
    events.length = 0;
    const happen = (what: string) => {
      events.push(what);
      if (what === event) soon();
    };
    return evaluateDataset(device, extractor, dataset, null as unknown as DecodePool, {
      signal,
      onProgress: (done) => happen(`picture ${done}`),
      rerank: { onProgress: (phase, done, total) => done === total && happen(phase) },
      onRanked: () => happen("ranked"),
    });
  };
  const ALL = ["picture 1", "picture 2", "picture 7", "picture 8", "neighbours", "vectors", "index", "ranked"];
  for (const event of ["picture 1", "picture 7", "neighbours", "vectors"]) {
    await stops(run(event), event);
    assert.equal(events, ALL.slice(0, ALL.indexOf(event) + 1));
  }
  const whole = await run("");
  whole.release();
  assert.equal(events, ALL);
});

test("a ranking by one query after the other is what it is without a signal", async () => {
  const device = await sharedDevice();
  const features = featuresOf(20, 60, 8);
  const ids = (count: number) => Int32Array.from({ length: count }, (_, i) => i % 5);
  const labels = { queryIds: ids(20), queryCams: ids(20), galleryIds: ids(60), galleryCams: ids(60).map((v) => v + 1) };
  const [a, b] = [
    await rankFeatures(device, labels, features, { rerank: {} }),
    await rankFeatures(device, labels, features, { rerank: {}, signal: new AbortController().signal }),
  ];
  assert.equal([b.result, b.reranked], [a.result, a.reranked]);
  for (const { destroy } of [a, b]) destroy();
});

test.after(closeDevice);
test.run();
