import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import type { DecodePool } from "#src/data/decode-pool.js";
import type { Device } from "#src/gpu/device.js";
import type { DatasetEvaluation } from "#src/retrieval/evaluate.js";
import type { Extractor } from "#src/retrieval/extractor.js";
import { evaluateRanking } from "#src/retrieval/metrics.js";
import { evaluateMultiQuery, pooledFeatures } from "#src/retrieval/multi-query.js";
import type { Extraction } from "#src/retrieval/pipeline.js";
import { cosineSimilarity } from "#src/retrieval/similarity.js";
import { userError } from "../data/helpers.js";

test("average and maximum of vectors of unit length; a query without images keeps its own", () => {
  const own = Float32Array.of(9, 9, 5, 6, 1, 2);
  const features = Float32Array.of(3, 4, 10, 0, 0, -2);
  const pool = (pooling: "average" | "max") => [...pooledFeatures(own, features, 2, [[0, 1], [], [2, 0]], pooling)];
  const f = Math.fround;
  assert.equal(pool("average"), [f(0.8), f(0.4), 5, 6, f(0.3), f(-0.1)]);
  assert.equal(pool("max"), [1, f(0.8), 5, 6, f(0.6), f(0.8)]);
});

/** A dataset whose images are named by their features. */
const sample = (pid: number, camid: number, ...vector: number[]): Sample => ({
  path: vector.join(" "),
  name: "",
  pid,
  camid,
});
const extract = async (samples: readonly Sample[]): Promise<Extraction> => ({
  features: Float32Array.from(samples.flatMap(({ path }) => path.split(" ").map(Number))),
  dim: 2,
  indices: Int32Array.from(samples.keys()),
  pace: { images: samples.length, seconds: 1, gpuSeconds: 1, decoderSeconds: 1 },
});

const query = [sample(1, 1, 0, 1), sample(2, 1, 1, 0)];
const gallery = [
  sample(1, 2, 1, 1),
  sample(1, 1, 1, 0.9),
  sample(3, 2, 0.2, 1),
  sample(2, 2, 1, 0.1),
  sample(-1, 2, 1, 0.95),
];
const multiQuery = [
  sample(1, 1, 0, 2),
  sample(1, 1, 7, 0),
  // Neither another camera's images of the person nor other people's take part.
  sample(1, 2, 0, 5),
  sample(3, 1, 0, 5),
];

async function evaluate(queries: Sample[], poolings: ("average" | "max")[]) {
  const seen: Sample[] = [];
  const extractor = {
    ofSamples: (samples: readonly Sample[]) => {
      seen.push(...samples);
      return extract(samples);
    },
  } as unknown as Extractor;
  const [q, g] = [await extract(queries), await extract(gallery)];
  const of = (samples: Sample[], key: "pid" | "camid") => samples.map((one) => one[key]);
  const ranking = {
    queryIds: of(queries, "pid"),
    queryCams: of(queries, "camid"),
    galleryIds: of(gallery, "pid"),
    galleryCams: of(gallery, "camid"),
    similarity: cosineSimilarity({ query: q.features, gallery: g.features, dim: 2 }),
  };
  const single = {
    result: await evaluateRanking(ranking),
    query: q,
    gallery: g,
    ranking,
  } as unknown as DatasetEvaluation;
  const dataset = { name: "hand-made", query: queries, gallery, multiQuery } as never;
  const [device, pool] = [null as unknown as Device, null as unknown as DecodePool];
  return { single, seen, multi: await evaluateMultiQuery(device, extractor, dataset, pool, single, poolings) };
}

test("a query is searched with the images of its person by its camera; right, wrong and junk stay as they are", async () => {
  const { single, seen, multi } = await evaluate(query, ["average", "max"]);
  assert.equal(
    seen.map(({ path }) => path),
    ["0 2", "7 0"],
  );
  assert.equal([multi.images, multi.alone], [2, 1]);
  // Alone, query 1 points up and finds the wrong (0.2, 1) first; pooled it is (1, 1), and its person comes first.
  assert.equal([single.result.mAP, single.result.rank1], [0.75, 0.5]);
  for (const pooling of ["average", "max"] as const) {
    assert.equal([multi.results[pooling]?.mAP, multi.results[pooling]?.rank1], [1, 1]);
    assert.equal([multi.results[pooling]?.queries, multi.results[pooling]?.skipped], [2, 0]);
  }
  assert.equal(Object.keys((await evaluate(query, ["max"])).multi.results), ["max"]);
});

test("without the queries' cameras there is no multi-query", async () => {
  const { message } = await userError(() => evaluate([sample(1, -2, 0, 1)], ["max"]));
  assert.match(message, /hand-made: a multi-query is made of the images by the query's own camera/);
});

test.run();
