import { test } from "uvu";
import * as assert from "uvu/assert";
import { requireAnswers } from "#src/data/datasets/answers.js";
import type { Sample } from "#src/data/datasets/types.js";
import { userError } from "../helpers.js";

/** Images of people and cameras. */
const images = (...labels: [pid: number, camid: number][]): Sample[] =>
  labels.map(([pid, camid]) => ({ path: "", name: "", pid, camid }));
const refusal = async (query: Sample[], gallery: Sample[]) =>
  (await userError(() => requireAnswers({ name: "mine", query, gallery }, "Or else."))).message;

test("all by one camera: how many have their person in the gallery, and where cameras come from", async () => {
  const message = await refusal(images([1, 1], [2, 1], [3, 1]), images([1, 1], [1, 1], [2, 1], [4, 1]));
  assert.match(message, "mine: no query has a right answer");
  assert.match(
    message,
    "Of 3 queries 2 have their person in the gallery at all, 2 of them only by the query's own camera",
  );
  assert.match(message, /_c1, _c2 in their names, or in a CSV file's camid .* --layout .* Or else\.$/);
});

test("nobody of the queries in the gallery; what shows nobody is nobody's answer", async () => {
  const message = await refusal(images([1, 1], [0, 1], [-1, 1]), images([2, 2], [0, 2], [-1, 2]));
  assert.match(message, "Of 3 queries 0 have their person in the gallery at all, 0 of them");
  assert.match(message, "the same numbers or names in query and gallery");
});

test("each its own picture alone, as in a set of people with one picture each", async () => {
  const set = images([1, -2], [2, -3]);
  assert.match(await refusal(set, set), "2 of them only by the query's own camera or as its own picture");
});

test("one right answer is enough, as the others are counted as skipped", () => {
  const query = images([1, 1], [2, 1], [3, 1]);
  requireAnswers({ name: "", query, gallery: images([1, 1], [2, 1], [2, 2]) });
  requireAnswers({ name: "", query, gallery: images([3, -2]) });
});

test.run();
