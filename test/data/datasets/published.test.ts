import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Dataset, Layout, Sample } from "#src/data/dataset.js";
import { differences, publishedAs } from "#src/data/datasets/published.js";
import { datasetOf } from "#src/data/datasets/types.js";

/** Images of people first, first + 1, ..., as many as asked for. */
const images = (count: number, people: number, first = 1): Sample[] =>
  Array.from({ length: count }, (_, i) => ({ path: "", name: "", pid: first + (i % people), camid: 1 }));
const nobody = (count: number, pid: 0 | -1) => images(count, 1, pid);

const dataset = (layout: Layout, train: Sample[], query: Sample[], gallery: Sample[], multiQuery: Sample[] = []) =>
  datasetOf({ name: "", root: "", layout, train, query, gallery, multiQuery });

const market = () =>
  dataset(
    "market1501",
    images(12_936, 751),
    images(3_368, 750),
    [...nobody(3_819, -1), ...nobody(2_798, 0), ...images(13_115, 750)],
    images(25_259, 1_501),
  );
const msmt17 = (train: number) => dataset("msmt17", images(train, 1_041), images(11_659, 3_060), images(82_161, 3_060));

test("datasets of the published size are not remarked on", () => {
  assert.equal(differences(market()), []);
  const withDistractors = market();
  withDistractors.gallery = [...withDistractors.gallery, ...nobody(500_000, 0)];
  assert.equal(differences(withDistractors, { distractors: 500_000 }), []);
  assert.equal(differences(dataset("dukemtmc", images(16_522, 702), images(2_228, 702), images(17_661, 1_110))), []);
  assert.equal(differences(dataset("cuhk03-detected", images(7_365, 767), images(1_400, 700), images(5_332, 700))), []);
  assert.equal(differences(dataset("cuhk03-labeled", images(7_368, 767), images(1_400, 700), images(5_328, 700))), []);
  assert.equal(differences(msmt17(30_248)), []);
  assert.equal(differences(msmt17(32_621), { trainVal: true }), []);
});

test("a published dataset is known by its counts alone, junk, distractors and all", () => {
  const of = (known: Dataset, distractors = 0) => publishedAs({ ...known, layout: "market" }, distractors);
  assert.is(of(market()), "market1501");
  const withDistractors = market();
  withDistractors.gallery.push(...nobody(5_000, 0));
  assert.equal([of(withDistractors), of(withDistractors, 5_000)], [null, "market1501"]);
  assert.is(of({ ...market(), train: [], multiQuery: [] }), "market1501");
  assert.is(of(dataset("market", images(16_522, 702), images(2_228, 702), images(17_661, 1_110))), "dukemtmc");
  assert.is(of(dataset("market", [], images(1_400, 700), images(5_328, 700))), "cuhk03-labeled");
  assert.is(of(dataset("market", images(16_521, 702), images(2_228, 702), images(17_661, 1_110))), null);
  assert.is(of(dataset("market", [], [], [])), null);
});

test("one image or person more or less is; lists that were not read are not", () => {
  const less = market();
  less.train.pop();
  less.query = images(3_368, 749);
  less.gallery = [];
  const distracted = market();
  distracted.gallery.push(...nobody(5_000, 0));
  assert.equal(differences(distracted, { distractors: 5_000 }), [
    "Market-1501 has 500,000 further distractors; found 5,000.",
  ]);
  assert.equal(differences(less), [
    "Market-1501 has 12,936 training images of 751 people; found 12,935 of 751 people.",
    "Market-1501 has 3,368 query images of 750 people; found 3,368 of 749 people.",
  ]);
  assert.is(differences(msmt17(30_248), { trainVal: true }).length, 1);
  assert.equal(differences(dataset("folders", images(3, 2), [], [])), []);
});

test.run();
