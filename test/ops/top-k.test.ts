import { test } from "uvu";
import * as assert from "uvu/assert";
import { Program } from "#src/graph/program.js";
import { Block, input, variable } from "#src/graph/tensor.js";
import { topK, transpose } from "#src/ops/index.js";
import { integer, seededRng } from "#src/random.js";
import { checkOp, closeDevice, sharedDevice } from "../support/op.js";

const USAGE = 0x80 | 0x4 | 0x8;

/** Similarities of few distinct values, [rows, columns], so that ties abound. */
function matrix(seed: number, rows: number, columns: number): number[][] {
  const rng = seededRng(seed);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => integer(rng, -8, 8) / 8));
}

/** Folds tiles of [9, 70] of a matrix in the given order, and gives the lists of the images along one of its sides. */
async function folded(
  whole: number[][],
  along: "columns" | "rows",
  keep: number,
  order: (tiles: number[][]) => number[][],
) {
  const device = await sharedDevice();
  const [rows, columns] = [9, 70];
  const [height, width] = [whole.length, whole[0].length];
  const images = along === "columns" ? width : height;
  const blocks: GPUBuffer[] = [];
  const state = (name: string, shape: number[], dtype: "f32" | "u32", data: Float32Array | Uint32Array) => {
    const block = new Block(name);
    block.buffer = device.buffer(name, data.byteLength, USAGE);
    device.gpu.queue.writeBuffer(block.buffer, 0, data as Float32Array<ArrayBuffer>);
    blocks.push(block.buffer);
    return variable(name, shape, block, 0, dtype);
  };
  const lists = topK(
    input("tile", [rows, columns]),
    input("place", [1, 4], "u32"),
    {
      values: state("values", [keep, images], "f32", new Float32Array(keep * images).fill(-9)),
      indices: state("indices", [keep, images], "u32", new Uint32Array(keep * images).fill(0xffffffff)),
      least: state("least", [images], "f32", new Float32Array(images).fill(9)),
    },
    along,
  );
  const program = await Program.compile(device, { outputs: { ...lists } });
  const starts = [];
  for (let r = 0; r < height; r += rows) for (let c = 0; c < width; c += columns) starts.push([r, c]);
  let read: Awaited<ReturnType<typeof program.run<"values" | "indices" | "least">>> | null = null;
  for (const [r, c] of order(starts)) {
    // What lies outside the matrix would win everywhere.
    const tile = Float32Array.from({ length: rows * columns }, (_, i) => {
      return whole[r + Math.floor(i / columns)]?.[c + (i % columns)] ?? 99;
    });
    const [h, w] = [Math.min(rows, height - r), Math.min(columns, width - c)];
    const place = along === "columns" ? [c, w, r, h] : [r, h, c, w];
    read = await program.run({ tile, place: Uint32Array.from(place) }, ["values", "indices", "least"]);
  }
  program.destroy();
  for (const buffer of blocks) device.release(buffer);
  return read!;
}

for (const along of ["columns", "rows"] as const) {
  test(`lists along ${along}, from tiles in any order, are the heads of sorted lists`, async () => {
    const whole = matrix(1, 20, 150);
    const vectors = along === "rows" ? whole : whole[0].map((_, c) => whole.map((row) => row[c]));
    const [images, keep] = [vectors.length, 7];
    for (const order of [(tiles: number[][]) => tiles, (tiles: number[][]) => tiles.toReversed()]) {
      const { values, indices, least } = await folded(whole, along, keep, order);
      for (const [image, vector] of vectors.entries()) {
        const sorted = [...vector.keys()].sort((a, b) => vector[b] - vector[a] || a - b).slice(0, keep);
        const slots = sorted.map((_, slot) => slot * images + image);
        assert.equal(
          slots.map((at) => indices[at]),
          sorted,
          `image ${image}`,
        );
        assert.equal(
          slots.map((at) => values[at]),
          sorted.map((candidate) => vector[candidate]),
        );
        assert.is(least[image], Math.min(...vector));
      }
    }
  });
}

test("shapes and types that do not fit are named", () => {
  const lists = { values: input("v", [2, 5]), indices: input("i", [2, 5], "u32"), least: input("l", [5]) };
  const [tile, place] = [input("t", [3, 4]), input("p", [1, 4], "u32")];
  assert.throws(() => topK(tile, input("p", [1, 4]), lists, "rows"), /places \[more than 0, 4\] of u32, got f32/);
  assert.throws(() => topK(tile, place, lists, "rows", 1), /more than 1/);
  assert.throws(
    () => topK(tile, place, { ...lists, least: input("l", [4]) }, "rows"),
    /one for each image, must be \[5\]/,
  );
});

for (const [rows, columns] of [
  [3, 5],
  [8, 12],
])
  test(`transpose of [${rows}, ${columns}]`, () =>
    checkOp({
      name: "transpose",
      inputs: { x: { shape: [rows, columns] } },
      build: ({ x }) => transpose(x),
      reference: ({ x }) =>
        Array.from({ length: rows * columns }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]),
    }));

test.after(closeDevice);
test.run();
