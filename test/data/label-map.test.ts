import { join } from "node:path";
import { PNG } from "pngjs";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { decodeLabelMap, personMask, readLabelMap, resizeLabels, vocColour } from "#src/data/label-map.js";
import { encodePng, greyPng, put, userError, withFolder } from "./helpers.js";

const map = (width: number, height: number, values: number[]) => ({ width, height, data: Uint8Array.from(values) });

for (const [colourType, kind, depths] of [
  [0, "grey", [1, 2, 4, 8, 16]],
  [3, "palette", [1, 2, 4, 8]],
] as const) {
  for (const depth of depths) {
    test(`${kind} PNG of ${depth} bits: the value is the label`, () => {
      for (const width of [1, 3, 7, 8, 13]) {
        const height = 5;
        const values = Array.from({ length: width * height }, (_, i) => (i * 37 + 11) % 2 ** Math.min(depth, 8));
        for (const interlaced of [false, true]) {
          const bytes = encodePng({ width, height, depth, colourType, values, interlaced });
          assert.equal(decodeLabelMap(bytes, "map.png"), map(width, height, values));
        }
      }
    });
  }
}

test("reads what other encoders write", async () => {
  const values = Array.from({ length: 6 * 4 }, (_, i) => i % 20);
  const raw = { raw: { width: 6, height: 4, channels: 1 as const } };
  const grey = await sharp(Buffer.from(values), raw).toColourspace("b-w").png().toBuffer();
  assert.equal(decodeLabelMap(grey, "grey.png"), map(6, 4, values));
  const png = new PNG({ width: 6, height: 4 });
  for (const [i, label] of values.entries()) png.data.set([label, label, label, 255], 4 * i);
  assert.equal(decodeLabelMap(PNG.sync.write(png), "grey-as-rgba.png"), map(6, 4, values));
});

test("SCHP's files: palettes of VOC colours, 4 bits for 7 labels and 8 bits for 20, whose index is the label", () => {
  const colours = (count: number) =>
    Array.from({ length: count }, (_, label) => vocColour(label)).flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]);
  for (const [depth, labels] of [
    [4, 7],
    [8, 20],
  ] as const) {
    const values = Array.from({ length: 9 * 6 }, (_, i) => i % labels);
    const palette = Uint8Array.from(colours(2 ** depth));
    const bytes = encodePng({ width: 9, height: 6, depth, colourType: 3, values, palette });
    assert.equal(decodeLabelMap(bytes, "schp.png"), map(9, 6, values));
  }
});

test("transparency is no matter, nor a palette shorter than its indices", () => {
  const values = Array.from({ length: 20 }, (_, i) => i % 16);
  const size = { width: 5, height: 4, values };
  const grey = encodePng({ ...size, depth: 8, colourType: 0, transparent: [0, 7] });
  assert.equal(decodeLabelMap(grey, "grey.png"), map(5, 4, values));
  const palette = Uint8Array.of(1, 2, 3, 40, 50, 60);
  const indexed = encodePng({ ...size, depth: 4, colourType: 3, palette, transparent: [0, 255] });
  assert.equal(decodeLabelMap(indexed, "indexed.png"), map(5, 4, values));
});

test("the first colours of VOC's palette", () => {
  const hex = Array.from({ length: 20 }, (_, label) => vocColour(label).toString(16).padStart(6, "0"));
  assert.is(
    hex.join(" "),
    "000000 800000 008000 808000 000080 800080 008080 808080 400000 c00000 408000 c08000 400080 c00080 408080 c08080 " +
      "004000 804000 00c000 80c000",
  );
});

test("colour pictures in VOC's palette are labels, others name the colour that is none", () => {
  const png = new PNG({ width: 8, height: 4 });
  const values = Array.from({ length: 32 }, (_, i) => (i * 5) % 28);
  for (const [i, label] of values.entries()) {
    const colour = vocColour(label);
    png.data.set([colour >> 16, (colour >> 8) & 255, colour & 255, 255], 4 * i);
  }
  for (const colorType of [2, 6] as const) {
    assert.equal(decodeLabelMap(PNG.sync.write(png, { colorType }), "rgb.png"), map(8, 4, values));
  }
  png.data.set([12, 34, 56], 4 * 19);
  assert.throws(() => decodeLabelMap(PNG.sync.write(png), "rgb.png"), /rgb.png.*\(12, 34, 56\) at column 3 and row 2/);
});

test("refuses what holds no labels, naming the file", () =>
  withFolder(async (folder) => {
    const refuse = async (bytes: Uint8Array, reason: RegExp) => {
      const path = join(folder, "0001_c1.png");
      await put(path, bytes);
      const { message } = await userError(() => readLabelMap(path));
      assert.match(message, path);
      assert.match(message, reason);
      assert.match(message, "palette");
    };
    const colour = sharp({ create: { width: 8, height: 8, channels: 3, background: { r: 120, g: 0, b: 0 } } });
    await refuse(await colour.png().toBuffer(), /colour picture/);
    await refuse(await colour.jpeg().toBuffer(), /not a PNG/);
    const values = new Array(9).fill(300);
    await refuse(encodePng({ width: 3, height: 3, depth: 16, colourType: 0, values }), /label 300/);
    const whole = greyPng(
      40,
      40,
      Array.from({ length: 1600 }, (_, i) => (i * i) % 251),
    );
    for (const length of [12, 40, 200, whole.length - 20])
      await refuse(whole.subarray(0, length), /truncated or corrupt/);
    const interlaced = encodePng({
      width: 9,
      height: 9,
      depth: 4,
      colourType: 3,
      values: new Array(81).fill(1),
      interlaced: true,
    });
    await refuse(interlaced.subarray(0, interlaced.length - 20), /truncated or corrupt/);
    const indexed = encodePng({ width: 9, height: 9, depth: 4, colourType: 3, values: new Array(81).fill(1) });
    for (const [file, at] of [
      [whole, 100],
      [indexed, indexed.length - 20],
      [indexed, 19],
    ] as const) {
      const damaged = Uint8Array.from(file);
      damaged[at] ^= 1;
      await refuse(damaged, /truncated or corrupt/);
    }
    assert.match((await userError(() => readLabelMap(join(folder, "none.png")))).message, "none.png");
  }));

test("a segmentation of 0 to 255 is cut in the middle, one of labels at 0", () => {
  assert.equal([...personMask(map(4, 1, [0, 127, 128, 255]))], [0, 0, 1, 1]);
  assert.equal([...personMask(map(4, 1, [0, 1, 1, 0]))], [0, 1, 1, 0]);
  assert.equal([...personMask(map(3, 1, [0, 7, 15]))], [0, 1, 1]);
});

test("resizes to the nearest label", () => {
  const small = map(2, 2, [1, 2, 3, 4]);
  assert.equal(resizeLabels(small, 2, 2), small);
  assert.equal([...resizeLabels(small, 4, 2).data], [1, 1, 2, 2, 3, 3, 4, 4]);
  assert.equal([...resizeLabels(map(3, 3, [1, 2, 3, 4, 5, 6, 7, 8, 9]), 1, 1).data], [5]);
});

test.run();
