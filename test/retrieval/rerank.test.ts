import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import { datasetOf } from "#src/data/datasets/types.js";
import type { DecodePool } from "#src/data/decode-pool.js";
import { UserError } from "#src/errors.js";
import { integer, type RandomGenerator, seededRng, uniform } from "#src/random.js";
import { evaluateDataset } from "#src/retrieval/evaluate.js";
import type { Extractor } from "#src/retrieval/extractor.js";
import { gpuSimilarity } from "#src/retrieval/gpu-similarity.js";
import { averagePrecision } from "#src/retrieval/metrics.js";
import { nearestNeighbours } from "#src/retrieval/neighbours.js";
import type { Extraction } from "#src/retrieval/pipeline.js";
import { DEFAULT_RERANK, type RerankParameters, rerankedSimilarity } from "#src/retrieval/rerank.js";
import { cosineSimilarity, type Features } from "#src/retrieval/similarity.js";
import { transposed } from "#src/retrieval/sparse-rows.js";
import { closeDevice, sharedDevice } from "../support/op.js";

type Matrix = Float64Array[];

/** Cosines of all images, queries first, in float64; of one set, where query and gallery are the same. */
function cosines({ query, gallery, dim }: Features): Matrix {
  const all = query === gallery ? [...query] : [...query, ...gallery];
  const rows = Array.from({ length: all.length / dim }, (_, i) => all.slice(i * dim, (i + 1) * dim));
  const unit = rows.map((row) => row.map((v) => v / (Math.hypot(...row) || 1)));
  return unit.map((a) => Float64Array.from(unit, (b) => a.reduce((sum, v, d) => sum + v * b[d], 0)));
}

/** The definition with dense matrices of all images: negated final distances, [queries, gallery]. */
function dense(features: Features, { k1, k2, lambda }: RerankParameters): Float64Array {
  const cos = cosines(features);
  const everyone = cos.map((_, i) => i);
  const distance = cos.map((row) => row.map((c) => (2 - 2 * c) / Math.max(...row.map((other) => 2 - 2 * other))));
  const lists = cos.map((row) => [...everyone].sort((a, b) => row[b] - row[a] || a - b));
  const reciprocal = (i: number, k: number) => {
    const first = (j: number) => lists[j].slice(0, k + 1);
    return first(i).filter((j) => first(j).includes(i));
  };
  // 2.5 becomes 2 and 3.5 becomes 4.
  const half = k1 % 4 === 1 ? (k1 - 1) / 2 : Math.ceil(k1 / 2);
  const weights: Matrix = everyone.map((i) => {
    const first = reciprocal(i, k1);
    const members = new Set(first);
    for (const j of first) {
      const others = reciprocal(j, half);
      if (others.filter((other) => first.includes(other)).length > (2 / 3) * others.length)
        for (const other of others) members.add(other);
    }
    const row = Float64Array.from(everyone, (j) => (members.has(j) ? Math.exp(-distance[i][j]) : 0));
    const total = row.reduce((a, b) => a + b, 0);
    return total > 0 ? row.map((v) => v / total) : row;
  });
  const averaged =
    k2 === 1
      ? weights
      : everyone.map((i) => {
          const near = lists[i].slice(0, k2);
          return Float64Array.from(everyone, (j) => near.reduce((sum, n) => sum + weights[n][j], 0) / near.length);
        });
  const queries = features.query.length / features.dim;
  return Float64Array.from(
    everyone.slice(0, queries).flatMap((q) =>
      everyone.slice(-features.gallery.length / features.dim).map((g) => {
        const shared = everyone.reduce((sum, j) => sum + Math.min(averaged[q][j], averaged[g][j]), 0);
        return -((1 - lambda) * (1 - shared / (2 - shared)) + lambda * distance[q][g]);
      }),
    ),
  );
}

async function sparse(features: Features, options: Partial<RerankParameters> & { block?: number }) {
  const similarity = await rerankedSimilarity(await sharedDevice(), features, cosineSimilarity(features), options);
  return similarity(0, features.query.length / features.dim);
}

/** Images of `people` scattered around a point each, so that neighbours are mostly reciprocal. */
function people(
  rng: RandomGenerator,
  queries: number,
  gallery: number,
  dim: number,
  count: number,
  noise = 0.3,
): Features {
  const centres = Array.from({ length: count }, () => Array.from({ length: dim }, () => uniform(rng, -1, 1)));
  const draw = (images: number) =>
    Float32Array.from(
      Array.from({ length: images }, () => centres[integer(rng, 0, count - 1)]).flatMap((centre) =>
        centre.map((v) => v + noise * uniform(rng, -1, 1)),
      ),
    );
  return { query: draw(queries), gallery: draw(gallery), dim };
}

function closeTo(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.is(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++)
    assert.ok(Math.abs(actual[i] - expected[i]) < 3e-6, `${what}: ${actual[i]} is not ${expected[i]} at ${i}`);
}

test("random sets agree with the definition in dense float64", async () => {
  for (const [n, parameters] of [
    DEFAULT_RERANK,
    { k1: 5, k2: 3, lambda: 0.5 },
    { k1: 7, k2: 1, lambda: 0.3 },
    { k1: 6, k2: 12, lambda: 0 },
    { k1: 1, k2: 2, lambda: 0.9 },
    { k1: 20, k2: 6, lambda: 1 },
  ].entries()) {
    const features = people(seededRng(n), 13, 90, 12, 9);
    closeTo(await sparse(features, parameters), dense(features, parameters), `case ${n}`);
  }
});

test("each picture against all others: neighbours are among as many pictures as there are", async () => {
  const rng = seededRng(31);
  const pids = Array.from({ length: 60 }, (_, i) => 1 + (i % 9));
  const centres = Array.from({ length: 10 }, () => Array.from({ length: 12 }, () => uniform(rng, -1, 1)));
  const vectors = pids.map((pid) => centres[pid].map((v) => v + 1.2 * uniform(rng, -1, 1)));
  const set = Float32Array.from(vectors.flat());
  const features = { query: set, gallery: set, dim: 12 };
  const parameters = { k1: 6, k2: 3, lambda: 0.3 };
  const expected = dense(features, parameters);
  closeTo(await sparse(features, parameters), expected, "distances");
  // Cameras known, and not: then each picture has its own, which takes the picture itself alone out.
  for (const cameras of [pids.map((_, i) => i % 4), pids.map((_, i) => -2 - i)]) {
    const samples = pids.map((pid, i): Sample => ({ path: String(i), name: "", pid, camid: cameras[i] }));
    const extracted: number[] = [];
    const extractor = {
      dim: 12,
      ofSamples: async ({ length }: readonly Sample[]): Promise<Extraction> => {
        extracted.push(length);
        const pace = { images: length, seconds: 1, gpuSeconds: 1, decoderSeconds: 1 };
        return { features: set, dim: 12, indices: Int32Array.from(samples.keys()), pace };
      },
    } as unknown as Extractor;
    const dataset = datasetOf({ name: "one", root: "", layout: "folders", query: samples, gallery: samples });
    const pool = null as unknown as DecodePool;
    const evaluated = await evaluateDataset(await sharedDevice(), extractor, dataset, pool, { rerank: parameters });
    evaluated.release();
    assert.equal([extracted, evaluated.pace.images], [[60], 60]);
    /** Mean average precision of [60, 60] values: all others that are not of the same person and camera are ranked. */
    const mAP = (rows: ArrayLike<number>) => {
      const of = pids.map((pid, q) => {
        const ranked = [...pids.keys()].filter((g) => g !== q && !(pids[g] === pid && cameras[g] === cameras[q]));
        ranked.sort((a, b) => rows[60 * q + b] - rows[60 * q + a] || a - b);
        return averagePrecision([...ranked.keys()].filter((rank) => pids[ranked[rank]] === pid));
      });
      return of.reduce((sum, one) => sum + one / of.length, 0);
    };
    closeTo([evaluated.result.mAP], [mAP(cosines(features).flatMap((row) => [...row]))], "mAP");
    closeTo([evaluated.reranked!.mAP], [mAP(expected)], "re-ranked mAP");
  }
});

test("several tiles, of which the last are not full, give what one gives", async () => {
  const features = people(seededRng(21), 70, 150, 12, 12);
  const expected = dense(features, DEFAULT_RERANK);
  const whole = await sparse(features, {});
  closeTo(whole, expected, "one tile");
  closeTo(await sparse(features, { block: 64 }), expected, "tiles of 64");
});

test("a list longer than the set, tiny sets, and one image against one", async () => {
  for (const [n, [queries, gallery]] of [
    [4, 9],
    [1, 3],
    [2, 1],
    [1, 1],
  ].entries()) {
    const features = people(seededRng(50 + n), queries, gallery, 7, 3);
    closeTo(await sparse(features, {}), dense(features, DEFAULT_RERANK), `${queries} x ${gallery}`);
  }
});

test("ties go to the lower number: corners of a cube, whose cosines are few and exact", async () => {
  const rng = seededRng(3);
  const corners = (images: number) =>
    Float32Array.from({ length: 4 * images }, () => (integer(rng, 0, 1) ? 0.5 : -0.5));
  const features = { query: corners(7), gallery: corners(60), dim: 4 };
  for (const parameters of [
    { k1: 8, k2: 4, lambda: 0.3 },
    { k1: 3, k2: 2, lambda: 0.3 },
  ])
    closeTo(await sparse(features, parameters), dense(features, parameters), `k1 ${parameters.k1}`);
});

test("more duplicates of an image than its list holds", async () => {
  const { query, gallery, dim } = people(seededRng(8), 4, 30, 12, 6);
  const one = gallery.subarray(0, dim);
  const repeated = new Float32Array(dim * 12);
  for (let i = 0; i < 12; i++) repeated.set(one, i * dim);
  const features = {
    query: Float32Array.from([...query, ...one]),
    gallery: Float32Array.from([...gallery, ...repeated]),
    dim,
  };
  // The nearest to a duplicate is the first of them, so that an average over one neighbour would not be the vector itself.
  for (const parameters of [
    { k1: 6, k2: 3, lambda: 0.3 },
    { k1: 6, k2: 1, lambda: 0.3 },
  ])
    closeTo(await sparse(features, parameters), dense(features, parameters), `k2 ${parameters.k2}`);
});

test("images that are all the same are all as near", async () => {
  const features = { query: new Float32Array(24).fill(0.3), gallery: new Float32Array(60).fill(0.3), dim: 12 };
  const result = await sparse(features, {});
  assert.ok(
    result.every((v) => Math.abs(v) < 1e-6),
    `${result}`,
  );
});

test("lists of neighbours are those of a full sort, and the same bits every time", async () => {
  const device = await sharedDevice();
  const features = people(seededRng(4), 70, 130, 12, 10);
  const near = await nearestNeighbours(device, features, 9, { block: 64 });
  cosines(features).forEach((row, i) => {
    const sorted = [...row.keys()].sort((a, b) => row[b] - row[a]);
    assert.equal([...near.indices.subarray(9 * i, 9 * i + 9)], sorted.slice(0, 9), `image ${i}`);
    closeTo(
      near.similarities.subarray(9 * i, 9 * i + 9),
      sorted.slice(0, 9).map((j) => row[j]),
      `image ${i}`,
    );
    closeTo([near.least[i]], [Math.min(...row)], `image ${i}`);
  });
  assert.equal(await nearestNeighbours(device, features, 9, { block: 64 }), near);
});

test("progress counts the tiles on and above the diagonal", async () => {
  const calls: [number, number][] = [];
  const features = people(seededRng(4), 70, 130, 12, 10);
  await nearestNeighbours(await sharedDevice(), features, 3, { block: 64, onProgress: (...call) => calls.push(call) });
  // Two blocks of queries and three of the gallery.
  assert.equal(
    calls,
    Array.from({ length: 16 }, (_, i) => [i, 15]),
  );
});

test("cosines of the GPU are those of the processor, for any rows", async () => {
  const features = people(seededRng(6), 150, 70, 12, 10);
  const expected = await cosineSimilarity(features)(0, 150);
  const { similarity, destroy } = await gpuSimilarity(await sharedDevice(), features, { block: 64 });
  for (const [start, end] of [
    [0, 150],
    [3, 80],
    [149, 150],
  ])
    closeTo(await similarity(start, end), expected.subarray(70 * start, 70 * end), `rows ${start} to ${end}`);
  destroy();
});

/** Sizes in bytes of every array and every buffer that a call makes. */
async function allocations(call: () => Promise<unknown>): Promise<number[]> {
  const device = await sharedDevice();
  const sizes: number[] = [];
  const originals = { Float32Array, Float64Array, Uint32Array, Int32Array };
  const names = Object.keys(originals) as (keyof typeof originals)[];
  for (const name of names) {
    const construct = (target: typeof Float32Array, args: unknown[], as: typeof Float32Array) => {
      const array = Reflect.construct(target, args, as);
      if (!(args[0] instanceof Object)) sizes.push(array.byteLength);
      return array;
    };
    globalThis[name] = new Proxy(originals[name] as typeof Float32Array, { construct }) as never;
  }
  const buffer = device.buffer.bind(device);
  device.buffer = (label, bytes, usage) => {
    sizes.push(bytes);
    return buffer(label, bytes, usage);
  };
  try {
    await call();
  } finally {
    Object.assign(globalThis, originals);
    device.buffer = buffer;
  }
  return sizes;
}

test("memory grows with the images, not with their square", async () => {
  const [queries, gallery] = [40, 1240];
  const largest = async (factor: number) => {
    const features = people(seededRng(1), factor * queries, factor * gallery, 12, factor * 100);
    const sizes = await allocations(async () => {
      const similarity = await rerankedSimilarity(await sharedDevice(), features, cosineSimilarity(features), {
        block: 64,
      });
      await similarity(0, 8);
    });
    return Math.max(...sizes);
  };
  const [once, twice] = [await largest(1), await largest(2)];
  const images = queries + gallery;
  // All similarities in float32 would be 6.5 MB and 26 MB.
  assert.ok(once < (4 * images ** 2) / 8, `${once} bytes`);
  assert.ok(twice <= 2.3 * once, `${once} bytes for ${images} images, ${twice} for twice as many`);
});

test("columns of a sparse matrix become rows", async () => {
  const rows = [
    { columns: Uint32Array.of(2, 0), values: Float32Array.of(1, 2) },
    { columns: Uint32Array.of(), values: Float32Array.of() },
    { columns: Uint32Array.of(0), values: Float32Array.of(3) },
  ];
  assert.equal(await transposed(3, 4, (row) => rows[row]), {
    offsets: Uint32Array.of(0, 2, 2, 3, 3),
    columns: Uint32Array.of(0, 2, 0),
    values: Float32Array.of(2, 3, 1),
  });
});

test("parameters out of range and features that are not finite are refused", async () => {
  const features = people(seededRng(1), 2, 3, 12, 2);
  const refused = async (options: Partial<RerankParameters>, message: RegExp, given = features) => {
    try {
      await rerankedSimilarity(await sharedDevice(), given, async () => new Float32Array(6), options);
    } catch (error) {
      assert.instance(error, UserError);
      return assert.match((error as UserError).message, message);
    }
    assert.unreachable();
  };
  await refused({ k1: 0 }, /k1 must be a whole number of at least 1, got 0/);
  await refused({ k2: 1.5 }, /k2 must be a whole number/);
  await refused({ lambda: 1.1 }, /lambda must lie between 0 and 1/);
  await refused({ lambda: Number.NaN }, /lambda/);
  await refused({}, /gallery image 1 are not finite/, { ...features, gallery: features.gallery.with(20, Number.NaN) });
});

test.after(closeDevice);
test.run();
