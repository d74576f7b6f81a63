import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Augmentation, Size } from "#src/data/augment.js";
import type { LabelMap } from "#src/data/label-map.js";
import { LABEL_SETS, type LabelSet } from "#src/data/label-sets.js";
import { coarsePrior, type Grid, movePrior, segmentationPrior, wholePrior } from "#src/data/prior.js";
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
      const { coverage, ...rest } = prior;
      assert.is(coverage?.length, 16 * rows * cols);
      assert.equal(rest, { rows, cols, mask, top, bottom, reliable: true }, `case ${n}`);
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

const PAPER = { size: { height: 384, width: 128 }, grid: { rows: 24, cols: 8 } };
const SMALL = { size: { height: 128, width: 64 }, grid: { rows: 8, cols: 4 } };

const plan = (shiftY: number, shiftX: number, flip = false): Augmentation => ({ flip, shiftX, shiftY, erase: null });

/** The map as the image's pixels move; what was vacated is 0. */
const shifted = ({ width, height, data }: LabelMap, down: number, right: number) =>
  rectangle(width, height, (x, y) => {
    const [fromX, fromY] = [x - right, y - down];
    return fromX >= 0 && fromX < width && fromY >= 0 && fromY < height ? data[fromY * width + fromX] : 0;
  });

/** What the network sees of the prior of a map, and of one that was moved. */
function expected(map: LabelMap, grid: Grid, flip: boolean) {
  const { mask, top, bottom, reliable } = segmentationPrior(map, grid);
  const { rows, cols } = grid;
  return { rows, cols, mask: flip ? mirrored(mask, cols) : mask, top, bottom, reliable };
}
function moved(map: LabelMap, size: Size, grid: Grid, augmentation: Augmentation) {
  const { rows, cols, mask, top, bottom, reliable } = movePrior(segmentationPrior(map, grid), augmentation, size);
  return { rows, cols, mask, top, bottom, reliable };
}
const mirrored = (mask: Uint8Array, cols: number) => mask.map((_, i) => mask[i - (i % cols) + cols - 1 - (i % cols)]);

/** Each pixel of a map as a square of `factor` x `factor` pixels. */
const enlarged = ({ width, height, data }: LabelMap, factor: number) =>
  rectangle(factor * width, factor * height, (x, y) => data[Math.floor(y / factor) * width + Math.floor(x / factor)]);

const SHIFTS = [
  { ...PAPER, shifts: [0, 6, -6, 19, -19] },
  { ...SMALL, shifts: [0, 3, -3, 6, -6] },
];

test("a prior moved by any pixels is that of the shifted map, where this has its borders between sub-cells", () => {
  let others = 0;
  for (const { size, grid, shifts } of SHIFTS) {
    for (let n = 0; n < 6; n++) {
      const map = enlarged(randomMap(seededRng(n), size.width / 4, size.height / 4, [1]), 4);
      const { mask } = segmentationPrior(map, grid);
      for (const down of shifts) {
        for (const right of shifts) {
          for (const flip of [false, true]) {
            const result = moved(map, size, grid, plan(down, right, flip));
            assert.equal(result, expected(shifted(map, down, right), grid, flip), `${n}: ${down}, ${right}, ${flip}`);
            if (!flip && `${result.mask}` !== `${mask}`) others++;
          }
        }
      }
    }
  }
  assert.ok(others > 150, `only ${others} shifts changed a mask`);
});

/** Head, body and two legs of random places and sizes, with smooth outlines. */
function silhouette(rng: RandomGenerator, { width, height }: Size): LabelMap {
  const between = (low: number, high: number) => low + ((high - low) * integer(rng, 0, 1000)) / 1000;
  const ellipses = [
    [0.5, 0.12, 0.12, 0.08],
    [0.5, 0.38, 0.25, 0.22],
    [0.4, 0.72, 0.12, 0.24],
    [0.6, 0.72, 0.12, 0.24],
  ].map(([x, y, a, b]) => [
    width * (x + between(-0.1, 0.1)),
    height * (y + between(-0.04, 0.04)),
    width * a * between(0.7, 1.3),
    height * b * between(0.8, 1.2),
  ]);
  return rectangle(width, height, (x, y) =>
    ellipses.some(([left, top, a, b]) => ((x + 0.5 - left) / a) ** 2 + ((y + 0.5 - top) / b) ** 2 < 1) ? 1 : 0,
  );
}

test("moved priors of smooth outlines are those of the shifted maps but for a few cells that are nearly half covered", () => {
  for (const { size, grid, shifts } of SHIFTS) {
    let [cells, wrong, wrongUnmoved] = [0, 0, 0];
    for (let n = 0; n < 10; n++) {
      const map = silhouette(seededRng(n), size);
      const { mask } = segmentationPrior(map, grid);
      for (const down of shifts) {
        for (const right of shifts) {
          const there = shifted(map, down, right);
          const exact = expected(there, grid, false).mask;
          const nearHalf = (row: number, col: number) => {
            let pixels = 0;
            for (let i = 0; i < 256; i++)
              pixels += there.data[(16 * row + (i >> 4)) * size.width + 16 * col + (i % 16)];
            return Math.abs(pixels / 256 - 0.5) < 0.04;
          };
          for (const [i, value] of moved(map, size, grid, plan(down, right)).mask.entries()) {
            cells++;
            if (mask[i] !== exact[i]) wrongUnmoved++;
            if (value === exact[i]) continue;
            wrong++;
            const [row, col] = [Math.floor(i / grid.cols), i % grid.cols];
            assert.ok(
              nearHalf(row, col) || (col > 0 && nearHalf(row, col - 1)),
              `${n}: ${down}, ${right}; ${row}, ${col}`,
            );
          }
        }
      }
    }
    assert.ok(wrong < 0.005 * cells, `${wrong} of ${cells}`);
    assert.ok(wrongUnmoved > 0.1 * cells, `${wrongUnmoved} of ${cells}`);
  }
});

test("a shift of whole cells is exact for maps of any size, exact halves included", () => {
  for (let n = 0; n < 300; n++) {
    const rng = seededRng(n);
    const grid = { rows: integer(rng, 1, 8), cols: integer(rng, 1, 6) };
    // Mostly no multiple of the sub-cells, and small enough that many cells are covered by half.
    const [tall, wide] = [integer(rng, 1, 7), integer(rng, 1, 7)];
    const map = randomMap(rng, wide * grid.cols, tall * grid.rows, [1]);
    const [down, right] = [integer(rng, -grid.rows, grid.rows), integer(rng, -grid.cols, grid.cols)];
    const size = { height: 16 * grid.rows, width: 16 * grid.cols };
    for (const flip of [false, true]) {
      assert.equal(
        moved(map, size, grid, plan(16 * down, 16 * right, flip)),
        expected(shifted(map, tall * down, wide * right), grid, flip),
        `case ${n}: ${down}, ${right}, ${flip}`,
      );
    }
  }
});

test("without a shift the mask stays as it is, or is mirrored", () => {
  for (let n = 0; n < 50; n++) {
    const rng = seededRng(n);
    const prior = segmentationPrior(randomMap(rng, integer(rng, 1, 40), integer(rng, 1, 90), [1]), PAPER.grid);
    assert.is(movePrior(prior, plan(0, 0), PAPER.size), prior);
    const { mask, top, bottom, reliable } = movePrior(prior, plan(0, 0, true), PAPER.size);
    assert.equal([mask, top, bottom, reliable], [mirrored(prior.mask, 8), prior.top, prior.bottom, prior.reliable]);
  }
});

/** A person one cell wide and a foot that stands out by another, one character a cell. */
const PERSON = ["0000", "0100", "0100", "1100", "0000", "0000", "0000", "0000"];
const personOf = (lines: string[]) => rectangle(4, 8, (x, y) => Number(lines[y][x]));

test("a mask is dilated after the shift and before the flip", () => {
  const lines = (augmentation: Augmentation) => {
    const { mask, top, bottom } = moved(personOf(PERSON), SMALL.size, SMALL.grid, augmentation);
    return [mask.join("").match(/..../g)!.slice(1, 5).join(" "), top, bottom];
  };
  assert.equal(lines(plan(0, 0)), ["0110 0110 1110 0000", 1, 4]);
  assert.equal(lines(plan(16, 0)), ["0000 0110 0110 1110", 2, 5]);
  assert.equal(lines(plan(-32, 0)), ["1110 0000 0000 0000", 0, 2]);
  assert.equal(lines(plan(0, 32)), ["0001 0001 0011 0000", 1, 4]);
  // The foot is outside, and dilates nothing; neither does what was vacated.
  assert.equal(lines(plan(0, -16)), ["1100 1100 1100 0000", 1, 4]);
  assert.equal(lines(plan(0, 16, true)), ["1100 1100 1110 0000", 1, 4]);
  // By half a cell both are half covered, and count; by less, one does.
  assert.equal(lines(plan(8, 0)), ["0110 0110 1110 1110", 1, 5]);
  assert.equal(lines(plan(7, 0)), ["0110 0110 1110 0000", 1, 4]);
  assert.equal(lines(plan(9, 0)), ["0000 0110 0110 1110", 2, 5]);
});

test("what is not reliable, or leaves the image, is whole", () => {
  const whole = wholePrior(SMALL.grid);
  assert.equal(movePrior(whole, plan(6, 3, true), SMALL.size), whole);
  const prior = segmentationPrior(personOf(PERSON), SMALL.grid);
  for (const [down, right] of [
    [-64, 0],
    [-200, 0],
    [112, 0],
    [0, 64],
    [0, -32],
    [1000, -1000],
  ])
    assert.equal(movePrior(prior, plan(down, right), SMALL.size), whole, `${down}, ${right}`);
  // A row less is still there.
  assert.is(movePrior(prior, plan(-48, 0), SMALL.size).reliable, true);
  assert.is(movePrior(prior, plan(96, 0), SMALL.size).reliable, true);
});

test.run();
