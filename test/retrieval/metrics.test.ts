import { join } from "node:path";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { readSafetensors } from "#src/formats/safetensors.js";
import {
  averagePrecision,
  averagePrecisionTrapezoid,
  evaluateRanking,
  evaluateRankings,
  isJunk,
  type Labels,
  type RankingInput,
} from "#src/retrieval/metrics.js";
import { bestMatches, rankedList } from "#src/retrieval/ranked-list.js";
import { cosineSimilarity, type Features, rankingBlock, remembered } from "#src/retrieval/similarity.js";

const near = (actual: number, expected: number, bound = 1e-9) =>
  assert.ok(Math.abs(actual - expected) <= bound, `${actual} is not ${expected}`);

async function fixture() {
  const { tensors } = await readSafetensors(join(import.meta.dirname, "../fixtures/metrics.safetensors"));
  const numbers = (name: string) => tensors.get(name)!.data as Float32Array;
  const input: Labels & Features = {
    query: numbers("input.query"),
    gallery: numbers("input.gallery"),
    dim: tensors.get("input.query")!.shape[1],
    queryIds: numbers("input.queryIds"),
    queryCams: numbers("input.queryCams"),
    galleryIds: numbers("input.galleryIds"),
    galleryCams: numbers("input.galleryCams"),
  };
  return { input, numbers };
}

test("the reference's fixture, whatever the block", async () => {
  const { input, numbers } = await fixture();
  for (const block of [1, 5, 28, 1000]) {
    const result = await evaluateRanking(input, { block });
    numbers("expect.cmc").forEach((rate, rank) => {
      near(result.cmc[rank], rate, 1e-5);
    });
    near(result.mAP, numbers("expect.mAP")[0], 1e-5);
    near(result.mAPTrapezoid, numbers("expect.mAP.trapezoid")[0], 1e-5);
    assert.is(result.queries, numbers("expect.valid")[0]);
    assert.is(result.skipped, numbers("expect.skipped")[0]);
    assert.equal(
      [result.rank1, result.rank5, result.rank10, result.rank20],
      [result.cmc[0], result.cmc[4], result.cmc[9], result.cmc[19]],
    );
  }
});

test("ready similarities in float32 tiles give the same", async () => {
  const { input } = await fixture();
  const cosine = cosineSimilarity(input);
  const { queryIds, queryCams, galleryIds, galleryCams } = input;
  const similarity = async (start: number, end: number) => Float32Array.from(await cosine(start, end));
  const labels = { queryIds, queryCams, galleryIds, galleryCams };
  assert.equal(await evaluateRanking({ ...labels, similarity }, { block: 7 }), await evaluateRanking(input));
});

test("rankings side by side give what each gives alone, from rows that are made once", async () => {
  const { input } = await fixture();
  const cosine = cosineSimilarity(input);
  const made: [number, number][] = [];
  const shared = remembered(async (start, end) => {
    made.push([start, end]);
    return cosine(start, end);
  });
  const reversed = async (start: number, end: number) => (await shared(start, end)).map((v) => -v);
  const both = await evaluateRankings(input, [shared, reversed], { block: 10 });
  assert.equal(made, [
    [0, 10],
    [10, 20],
    [20, 28],
  ]);
  assert.equal(both[0], await evaluateRanking(input));
  const { queryIds, queryCams, galleryIds, galleryCams } = input;
  assert.equal(both[1], await evaluateRanking({ queryIds, queryCams, galleryIds, galleryCams, similarity: reversed }));
  assert.ok(both[0].mAP > both[1].mAP);
});

test("blocks of similarities stay below 128 MiB, but for 64 queries", () => {
  for (const gallery of [1, 1000, 19732, 82161, 600_000]) {
    const block = rankingBlock(gallery);
    assert.ok(block >= 64 && (block === 64 || 4 * block * gallery <= 2 ** 27), `${block} x ${gallery}`);
  }
});

/** One query, person 1 of camera 1, whose gallery is right (1) and wrong (0) in this order. */
const listOf = (pattern: number[]): RankingInput => ({
  queryIds: [1],
  queryCams: [1],
  galleryIds: pattern.map((right) => (right ? 1 : 9)),
  galleryCams: pattern.map(() => 2),
  similarity: async () => Float32Array.from(pattern, (_, position) => -position),
});

const vectors: [number[], number, number][] = [
  [[1, 0, 1, 0], 0.833333, 0.791667],
  [[0, 1], 0.5, 0.25],
  [[1, 0, 0, 0, 1], 0.7, 0.6625],
  [[0, 0, 1, 1, 0, 1], 0.444444, 0.344444],
  [[1, 1, 1], 1, 1],
];
for (const [pattern, step, trapezoid] of vectors)
  test(`average precision of ${pattern.join(",")}`, async () => {
    const hits = pattern.flatMap((right, position) => (right ? [position] : []));
    near(averagePrecision(hits), step, 1e-6);
    near(averagePrecisionTrapezoid(hits), trapezoid, 1e-6);
    const result = await evaluateRanking(listOf(pattern));
    near(result.mAP, step, 1e-6);
    near(result.mAPTrapezoid, trapezoid, 1e-6);
    assert.equal(
      [...result.cmc.slice(0, pattern.length)],
      pattern.map((_, rank) => (rank >= hits[0] ? 1 : 0)),
    );
  });

test("junk has no influence, distractors count as wrong", async () => {
  const input: RankingInput = {
    queryIds: [7],
    queryCams: [3],
    //           junk: -1, own camera; distractor; right
    galleryIds: [-1, 7, 0, 7],
    galleryCams: [1, 3, 3, 1],
    similarity: async () => Float32Array.of(0.9, 0.8, 0.7, 0.6),
  };
  const result = await evaluateRanking(input);
  assert.equal([...result.cmc.slice(0, 3)], [0, 1, 1]);
  assert.is(result.mAP, 0.5);
  assert.equal(await rankedList(input, 0, 10), [
    { index: 2, similarity: Math.fround(0.7), right: false },
    { index: 3, similarity: Math.fround(0.6), right: true },
  ]);
});

test("ties keep the gallery's order", async () => {
  const labels = { queryIds: [1], queryCams: [1], galleryCams: [2, 2, 2] };
  const similarity = async () => Float32Array.of(0.5, 0.5, 0.5);
  const ap = async (galleryIds: number[]) => (await evaluateRanking({ ...labels, galleryIds, similarity })).mAP;
  assert.is(await ap([1, 2, 3]), 1);
  assert.is(await ap([2, 1, 3]), 1 / 2);
  assert.is(await ap([2, 3, 1]), 1 / 3);
  assert.equal(
    bestMatches([0.5, 0.9, 0.5, 0.9], 3).map(({ index }) => index),
    [1, 3, 0],
  );
});

test("random lists agree with a plain full sort", async () => {
  const generator = xoroshiro128plus(11);
  const below = (n: number) => (generator.next() >>> 0) % n;
  const [queries, gallery] = [40, 300];
  const column = (length: number, n: number, from: number) => Array.from({ length }, () => below(n) + from);
  // Few distinct similarities, so that ties abound.
  const rows = Array.from({ length: queries }, () => Float64Array.from({ length: gallery }, () => below(40) / 40));
  const input: RankingInput = {
    queryIds: column(queries, 30, 1),
    queryCams: column(queries, 4, 1),
    galleryIds: column(gallery, 32, -1),
    galleryCams: column(gallery, 4, 1),
    similarity: async (start, end) => Float64Array.from(rows.slice(start, end).flatMap((row) => [...row])),
  };
  const hitLists = rows.map((row, query) => {
    const order = [...row.keys()].filter((index) => !isJunk(input, query, index));
    order.sort((a, b) => row[b] - row[a]);
    return order.flatMap((index, rank) => (input.galleryIds[index] === input.queryIds[query] ? [rank] : []));
  });
  const counted = hitLists.filter((hits) => hits.length > 0);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / counted.length;
  const result = await evaluateRanking(input, { block: 16, ranks: 30 });
  assert.is(result.queries, counted.length);
  assert.is(result.skipped, queries - counted.length);
  near(result.mAP, mean(counted.map(averagePrecision)));
  hitLists.forEach((hits, query) => {
    assert.is(result.averagePrecisions.get(query), hits.length > 0 ? averagePrecision(hits) : undefined);
  });
  near(result.mAPTrapezoid, mean(counted.map(averagePrecisionTrapezoid)));
  assert.is(result.cmc.length, 30);
  result.cmc.forEach((rate, rank) => {
    near(rate, mean(counted.map((hits) => (hits[0] <= rank ? 1 : 0))));
  });
});

test("a query without a right image is skipped, also when it is the only one", async () => {
  const result = await evaluateRanking(listOf([0, 0]));
  assert.equal([result.queries, result.skipped, result.mAP, result.rank1], [0, 1, 0, 0]);
});

test("progress is reported by block", async () => {
  const { input } = await fixture();
  const calls: [number, number][] = [];
  await evaluateRanking(input, { block: 12, onProgress: (done, all) => calls.push([done, all]) });
  assert.equal(calls, [
    [12, 28],
    [24, 28],
    [28, 28],
  ]);
});

test("features that are not finite and labels that do not fit are refused", async () => {
  const { input } = await fixture();
  const refused = (broken: RankingInput, message: RegExp) =>
    evaluateRanking(broken).then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, UserError);
        assert.match(error.message, message);
      },
    );
  await refused({ ...input, gallery: input.gallery.with(35, Number.NaN) }, /gallery image 2 are not finite/);
  await refused({ ...input, queryCams: [1, 2] }, /query set has 28 feature rows, 28 identities and 2 cameras/);
  await refused({ ...input, dim: 15 }, /must be as many|no multiple/);
  await refused(
    { ...listOf([1, 0]), similarity: async () => Float32Array.of(1, Number.NaN) },
    /gallery image 1 is NaN/,
  );
});

test.run();
