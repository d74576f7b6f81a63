import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LabelMap } from "#src/data/label-map.js";
import { LABEL_SETS, type LabelSet } from "#src/data/label-sets.js";
import { coarsePrior, movePrior, type Prior, priorMove, wholePrior } from "#src/data/prior.js";
import { readSafetensors } from "#src/formats/safetensors.js";
import { integer, type RandomGenerator, seededRng } from "#src/random.js";

const FIXTURE = new URL("../fixtures/prior.safetensors", import.meta.url).pathname;

test("the reference's fixture comes out exactly", async () => {
  const { metadata, tensors } = await readSafetensors(FIXTURE);
  const [rows, cols, labels] = [Number(metadata.rows), Number(metadata.cols), metadata.labels as LabelSet];
  const bytes = (name: string) => tensors.get(name)!.data as Uint8Array;
  const [n, height, width] = tensors.get("input.parsing")!.shape;
  const roi = tensors.get("expect.roi")!.data as Int32Array;
  assert.ok(n > 0);
  for (let i = 0; i < n; i++) {
    const map = (name: string): LabelMap => {
      const size = width * height;
      return { width, height, data: bytes(name).subarray(i * size, (i + 1) * size) };
    };
    const prior = coarsePrior(map("input.parsing"), map("input.segmentation"), { rows, cols, labels });
    assert.equal([...prior.mask], [...bytes("expect.mask").subarray(i * rows * cols, (i + 1) * rows * cols)]);
    assert.equal([prior.top, prior.bottom], [...roi.subarray(2 * i, 2 * i + 2)]);
    assert.is(prior.reliable, bytes("expect.reliable")[i] === 1);
  }
});

/** The specification as directly as it can be written: each cell sums, over all pixels, the area they share. */
function straightforward(parsing: LabelMap, segmentation: LabelMap, rows: number, cols: number, labels: LabelSet) {
  const { width, height } = parsing;
  const count = (set: readonly number[]) => parsing.data.filter((label) => set.includes(label)).length;
  const enough = (set: readonly number[]) => count(set) >= (width * height) / 512;
  if (!enough(LABEL_SETS[labels].head) || !enough(LABEL_SETS[labels].leg)) return null;
  const shared = (i: number, cell: number, pixels: number, cells: number) =>
    Math.max(0, Math.min(i + 1, ((cell + 1) * pixels) / cells) - Math.max(i, (cell * pixels) / cells));
  const covered = (row: number, col: number) => {
    let sum = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const person = parsing.data[y * width + x] > 0 || segmentation.data[y * width + x] > 0;
        if (person) sum += shared(y, row, height, rows) * shared(x, col, width, cols);
      }
    }
    return sum / ((height / rows) * (width / cols)) >= 0.5 - 1e-9;
  };
  const mask = Array.from({ length: rows }, (_, row) => Array.from({ length: cols }, (_, col) => covered(row, col)));
  const dilated = mask.map((line) => line.map((on, col) => on || (col > 0 && line[col - 1])));
  const present = dilated.flatMap((line, row) => (line.includes(true) ? [row] : []));
  return present.length === 0 ? null : { dilated, top: present[0], bottom: present[present.length - 1] + 1 };
}

/** Random rectangles of labels, large enough that some cells are covered and some are not. */
function randomMap(rng: RandomGenerator, width: number, height: number, values: readonly number[]): LabelMap {
  const data = new Uint8Array(width * height);
  for (let patch = integer(rng, 1, 4); patch > 0; patch--) {
    const [left, top] = [integer(rng, 0, width - 1), integer(rng, 0, height - 1)];
    const [right, bottom] = [integer(rng, left, width - 1), integer(rng, top, height - 1)];
    const value = values[integer(rng, 0, values.length - 1)];
    for (let y = top; y <= bottom; y++) data.fill(value, y * width + left, y * width + right + 1);
  }
  return { width, height, data };
}

test("random maps of any size and grid agree with the specification written out", () => {
  let reliable = 0;
  for (let n = 0; n < 400; n++) {
    const rng = seededRng(n);
    const labels = (["lip", "atr", "pascal"] as const)[n % 3];
    const [width, height] = [integer(rng, 1, 20), integer(rng, 1, 30)];
    const [rows, cols] = [integer(rng, 1, 12), integer(rng, 1, 8)];
    const some = [...LABEL_SETS[labels].head, ...LABEL_SETS[labels].leg];
    const parsing = randomMap(rng, width, height, some);
    const segmentation = randomMap(rng, width, height, [n % 2 ? 255 : 1]);
    const prior = coarsePrior(parsing, segmentation, { rows, cols, labels });
    const expected = straightforward(parsing, segmentation, rows, cols, labels);
    if (expected === null) {
      assert.equal(prior, wholePrior({ rows, cols }), `case ${n}`);
    } else {
      reliable++;
      const { dilated, top, bottom } = expected;
      const mask = Uint8Array.from(dilated.flat(), Number);
      assert.equal(prior, { rows, cols, mask, top, bottom, reliable: true }, `case ${n}`);
    }
  }
  assert.ok(reliable > 80, `only ${reliable} reliable cases`);
});

const rectangle = (width: number, height: number, value: (x: number, y: number) => number): LabelMap => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width))),
});

test("parsing alone serves; a segmentation of another size adds to it", () => {
  const grid = { rows: 4, cols: 4, labels: "pascal" } as const;
  // Head in row 1, leg in row 2, both in column 0.
  const parsing = rectangle(8, 8, (x, y) => (x < 2 && y >= 2 && y < 6 ? (y < 4 ? 1 : 5) : 0));
  const alone = coarsePrior(parsing, null, grid);
  assert.equal([...alone.mask], [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
  assert.equal([alone.top, alone.bottom, alone.reliable], [1, 3, true]);
  const belowLeft = rectangle(12, 4, (x, y) => (y === 3 && x < 3 ? 255 : 0));
  const both = coarsePrior(parsing, belowLeft, grid);
  assert.equal([...both.mask], [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
  assert.equal([both.top, both.bottom], [1, 4]);
});

const prior = (lines: string[], top: number, bottom: number): Prior => ({
  rows: lines.length,
  cols: lines[0].length,
  mask: Uint8Array.from(lines.join(""), Number),
  top,
  bottom,
  reliable: true,
});
const PERSON = prior(["0000", "0110", "0111", "0100"], 1, 4);
const still = { flip: false, dRows: 0, dCols: 0 };

test("a flip mirrors the mask and keeps the rows; twice is nothing", () => {
  const flipped = movePrior(PERSON, { ...still, flip: true });
  assert.equal(flipped, prior(["0000", "0110", "1110", "0010"], 1, 4));
  assert.equal(movePrior(flipped, { ...still, flip: true }), PERSON);
  assert.equal(movePrior(PERSON, still), PERSON);
});

test("a shift moves mask and rows, fills with 0 and clamps", () => {
  assert.equal(movePrior(PERSON, { ...still, dRows: 1 }), prior(["0000", "0000", "0110", "0111"], 2, 4));
  assert.equal(movePrior(PERSON, { ...still, dRows: -2 }), prior(["0111", "0100", "0000", "0000"], 0, 2));
  assert.equal(movePrior(PERSON, { ...still, dCols: 1 }), prior(["0000", "0011", "0011", "0010"], 1, 4));
  // Shifted right by one, then mirrored.
  assert.equal(movePrior(PERSON, { flip: true, dRows: 0, dCols: 1 }), prior(["0000", "1100", "1100", "0100"], 1, 4));
});

test("what is not reliable, or leaves the grid, stays whole", () => {
  const whole = wholePrior(PERSON);
  assert.equal(movePrior(whole, { flip: true, dRows: 2, dCols: 1 }), whole);
  assert.equal(movePrior(PERSON, { ...still, dRows: 3 }), whole);
  assert.equal(movePrior(PERSON, { ...still, dRows: -4 }), whole);
  assert.equal(movePrior(PERSON, { ...still, dCols: 3 }), whole);
});

test("shifts in pixels round to cells, alike to both sides", () => {
  const plan = { flip: true, erase: null };
  const size = { height: 384, width: 128 };
  const grid = { rows: 24, cols: 8 };
  const cells = (shiftY: number, shiftX: number) => {
    const { flip, dRows, dCols } = priorMove({ ...plan, shiftY, shiftX }, size, grid);
    assert.is(flip, true);
    return [dRows + 0, dCols + 0];
  };
  assert.equal(cells(19, 6), [1, 0]);
  assert.equal(cells(-19, -6), [-1, 0]);
  assert.equal(cells(8, -8), [1, -1]);
  assert.equal(cells(7, 7), [0, 0]);
});

test.run();
