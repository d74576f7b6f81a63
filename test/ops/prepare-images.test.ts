import { test } from "uvu";
import * as assert from "uvu/assert";
import { input } from "#src/graph/tensor.js";
import { IMAGE_TABLE_COLUMNS, type PrepareImagesOptions, prepareImages } from "#src/ops/index.js";
import { integer, seededRng } from "#src/random.js";
import { closeDevice, evaluate, relativeError } from "../support/op.js";
import { type Picture, type Preparation, prepare } from "../support/reference/images.js";

function picture(height: number, width: number, seed = 1): Picture {
  const rng = seededRng(seed);
  return { width, height, data: Uint8Array.from({ length: height * width * 3 }, () => integer(rng, 0, 255)) };
}

/** Lays pictures side by side as the loader does, and prepares them. */
async function run(
  items: readonly { picture: Picture; how?: Preparation }[],
  [height, width]: readonly [number, number],
  look: PrepareImagesOptions = {},
) {
  let end = 0;
  const table = items.flatMap(({ picture: { width, height, data }, how = {} }) => {
    const { flip = false, shift = [0, 0], erase = [0, 0, 0, 0] } = how;
    const offset = end;
    end += data.length;
    return [offset, width, height, Number(flip), ...shift, ...erase];
  });
  const bytes = new Uint8Array(Math.ceil(end / 4) * 4);
  items.forEach(({ picture }, i) => {
    bytes.set(picture.data, table[i * IMAGE_TABLE_COLUMNS]);
  });
  const y = prepareImages(
    input("bytes", [bytes.length / 4], "u32"),
    input("table", [items.length, IMAGE_TABLE_COLUMNS], "i32"),
    height,
    width,
    look,
  );
  const values = await evaluate({ y }, { bytes: new Uint32Array(bytes.buffer), table: Int32Array.from(table) });
  const expected = items.flatMap(({ picture, how }) => [...prepare(picture, height, width, how, look)]);
  return { actual: values.y, expected };
}

async function check(...args: Parameters<typeof run>) {
  const { actual, expected } = await run(...args);
  const error = relativeError(actual, expected);
  assert.ok(error < 1e-5, `off by ${error}`);
}

for (const [name, from, to] of [
  ["the same size", [6, 4], [6, 4]],
  ["twice the size", [5, 3], [10, 6]],
  ["up by odd factors", [7, 5], [12, 8]],
  ["from one pixel", [1, 1], [4, 3]],
  ["to one pixel", [9, 7], [1, 1]],
  ["half the size", [12, 8], [6, 4]],
  ["down by odd factors", [31, 17], [12, 8]],
  ["down a lot", [60, 40], [6, 4]],
  ["taller and narrower", [6, 20], [12, 8]],
] as const) {
  for (const interpolation of ["bilinear", "bicubic"] as const)
    test(`resize: ${name}, ${interpolation}`, () =>
      check([{ picture: picture(from[0], from[1]) }], to, { interpolation }));
}

test("what a cubic overshoots is clipped, along each axis", async () => {
  const data = Uint8Array.from({ length: 6 * 6 * 3 }, (_, i) => 255 * ((Math.floor(i / 9) + Math.floor(i / 54)) % 2));
  const { actual, expected } = await run([{ picture: { width: 6, height: 6, data } }], [24, 24], {
    interpolation: "bicubic",
  });
  assert.ok(relativeError(actual, expected) < 1e-5);
  const [least, most] = [0, 255].map((v) => (v / 255 - 0.485) / 0.229);
  const reds = [...actual.filter((_, i) => i % 3 === 0)];
  assert.ok(Math.abs(Math.min(...reds) - least) < 1e-5 && Math.abs(Math.max(...reds) - most) < 1e-5);
});

// Pillow 9.4: Image.fromarray(uint8).resize((5, 2), Image.BICUBIC), rounded to bytes as PIL does after each pass.
test("a bicubic resize is PIL's, to its rounding", async () => {
  const rows = [
    [106, 152, 249],
    [131, 184, 200],
    [0, 21, 253],
    [147, 202, 107],
  ];
  const resized = [
    [100, 116, 149, 205, 236],
    [77, 92, 119, 160, 177],
  ];
  const data = Uint8Array.from(rows.flat().flatMap((v) => [v, 255 - v, v]));
  const { actual } = await run([{ picture: { width: 3, height: 4, data } }], [2, 5], { interpolation: "bicubic" });
  const bytes = [...actual.filter((_, i) => i % 3 === 0)].map((v) => (v * 0.229 + 0.485) * 255);
  resized.flat().forEach((v, i) => {
    assert.ok(Math.abs(bytes[i] - v) <= 1.05, `pixel ${i} is ${bytes[i]}, PIL's ${v}`);
  });
});

const shifts = [
  [3, -2],
  [-1, 4],
  [0, 12],
  [-30, 0],
] as const;

for (const flip of [false, true]) {
  for (const shift of shifts)
    test(`shift by [${shift}]${flip ? ", mirrored" : ""}`, () =>
      check([{ picture: picture(15, 9), how: { flip, shift } }], [12, 8]));
  test(`a rectangle is erased${flip ? " of the mirrored picture" : ""}`, () =>
    check([{ picture: picture(15, 9), how: { flip, erase: [2, 1, 5, 3] } }], [12, 8]));
  test(`everything at once${flip ? ", mirrored" : ""}, with a fill`, () =>
    check([{ picture: picture(15, 9), how: { flip, shift: [2, -3], erase: [8, 5, 20, 20] } }], [12, 8], {
      fill: [1.5, -2, 0.25],
      erasure: [0.5, 0, -1],
    }));
}

test("pictures of different sizes, one of them twice, at offsets that are no multiple of 4", async () => {
  const [a, b] = [picture(3, 3, 1), picture(20, 7, 2)];
  assert.not.equal(a.data.length % 4, 0);
  await check([{ picture: a }, { picture: b, how: { flip: true } }, { picture: b }, { picture: a }], [8, 6]);
});

test("normalisation: a picture of the mean colour is 0, fill is 0 unless given", async () => {
  const mean = { width: 2, height: 2, data: Uint8Array.from({ length: 12 }, (_, i) => [124, 116, 104][i % 3]) };
  const { actual } = await run([{ picture: mean }, { picture: mean, how: { shift: [9, 9] } }], [3, 3]);
  const half = 0.5 / 255 / 0.224;
  assert.ok(actual.subarray(0, 27).every((v) => Math.abs(v) <= half));
  assert.ok(actual.subarray(27).every((v) => v === 0));
});

test("inputs of other kinds are refused", () => {
  const bytes = input("bytes", [4], "u32");
  const table = input("table", [1, IMAGE_TABLE_COLUMNS], "i32");
  assert.throws(() => prepareImages(input("bytes", [4]), table, 4, 4), /bytes must be u32/);
  assert.throws(() => prepareImages(bytes, input("table", [1, 4], "i32"), 4, 4), /i32 \[images, 10\], got i32 \[1,4\]/);
});

test.after(closeDevice);
test.run();
