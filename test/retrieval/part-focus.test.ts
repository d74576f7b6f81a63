import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Prior, wholePrior } from "#src/data/prior.js";
import type { Attention } from "#src/retrieval/gradcam.js";
import { partFocus } from "#src/retrieval/part-focus.js";

const [rows, columns] = [6, 2];

/** A map of the values of rows, alike in both columns. */
const map = (name: string, byRow: readonly number[]): Attention => ({
  name,
  rows,
  columns,
  values: Float32Array.from(byRow.flatMap((v) => [v, v])),
  shown: 0,
  probability: 1,
  predicted: 0,
});

/** A person in rows 1 to 4. */
const prior = (mask = [0, 1, 1, 1, 1, 0]): Prior => ({
  rows,
  cols: columns,
  mask: Uint8Array.from(mask.flatMap((v) => [v, v])),
  top: 1,
  bottom: 5,
  reliable: true,
});

const close = (a: readonly number[] | null, b: readonly number[]) => {
  assert.is(a?.length, b.length);
  for (const [i, v] of a!.entries()) assert.ok(Math.abs(v - b[i]) < 1e-9, `${a} is not ${b}`);
};

test("what lies off the person does not count, and shares are of what lies on it", () => {
  const maps = [map("part 1", [9, 3, 0, 1, 0, 9]), map("part 2", [0, 0, 1, 0, 1, 5])];
  const focus = partFocus([{ maps, prior: prior() }])!;
  close(focus.shares[0], [0.75, 0.25]);
  close(focus.shares[1], [0.5, 0.5]);
  assert.is(focus.own, (0.75 + 0.5) / 2);
  assert.is(focus.pictures, 1);
  const hidden = partFocus([{ maps, prior: prior([0, 0, 1, 1, 1, 0]) }])!;
  close(hidden.shares[0], [0, 1]);
});

test("a row is divided where a part ends within it; an even map gives every part as much", () => {
  const even = [1, 1, 1, 1, 1, 1];
  const maps = [1, 2, 3].map((k) => map(`part ${k}`, even));
  const { shares, own } = partFocus([{ maps, prior: prior() }])!;
  for (const row of shares) close(row, [1 / 3, 1 / 3, 1 / 3]);
  assert.ok(Math.abs(own - 1 / 3) < 1e-9);
  const ends = partFocus([{ maps: maps.map(({ name }) => map(name, [0, 1, 1, 0, 0, 0])), prior: prior() }])!;
  close(ends.shares[0], [4 / 6, 2 / 6, 0]);
});

test("means over pictures; those without a reliable prior, or nothing on the person, are left out", () => {
  const first = [map("part 1", [0, 1, 0, 0, 0, 0]), map("part 2", [0, 0, 0, 0, 1, 0])];
  const second = [map("part 1", [0, 0, 0, 0, 1, 0]), map("part 2", [1, 0, 0, 0, 0, 0])];
  const focus = partFocus([
    { maps: first, prior: prior() },
    { maps: second, prior: prior() },
    { maps: second, prior: wholePrior({ rows, cols: columns }) },
  ])!;
  assert.is(focus.pictures, 2);
  close(focus.shares[0], [0.5, 0.5]);
  close(focus.shares[1], [0, 1]);
});

test("a classifier that never looks at the person has no shares, and does not count", () => {
  const maps = [map("part 1", [1, 0, 0, 0, 0, 0]), map("part 2", [0, 0, 1, 0, 3, 0])];
  const { shares, own, pictures } = partFocus([{ maps, prior: prior() }])!;
  assert.is(shares[0], null);
  close(shares[1], [0.25, 0.75]);
  assert.equal([own, pictures], [0.75, 1]);
});

test("only classifiers of parts stand for a part; one alone for none", () => {
  const global = map("global", [0, 0, 0, 1, 0, 0]);
  const maps = [global, map("part 1", [0, 1, 0, 0, 0, 0]), map("part 2", [0, 1, 0, 0, 0, 0])];
  const { shares } = partFocus([{ maps, prior: prior() }])!;
  assert.is(shares.length, 2);
  assert.is(partFocus([{ maps: maps.slice(0, 2), prior: prior() }]), null);
  assert.is(partFocus([{ maps: [global], prior: prior() }]), null);
  assert.is(partFocus([]), null);
});

test.run();
