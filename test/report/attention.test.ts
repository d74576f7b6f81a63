import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { attentionPicture, colourOf, enlarge, overlay } from "#src/report/attention.js";
import { renderAttentionPage } from "#src/report/attention-page.js";
import { temporaryFolder } from "../support/tiny.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

const grey = (width: number, height: number) => ({ width, height, data: new Uint8Array(width * height * 3).fill(128) });

/** A map that is 1 in one cell and 0 elsewhere. */
function spot(rows: number, columns: number, at: number) {
  return { rows, columns, values: new Float32Array(rows * columns).with(at, 1) };
}

const cells = [0, 4, 5].map((at) => ({ title: `part ${at}`, caption: ["0012, 63 %"], ...spot(3, 2, at) }));
const figure = { label: "<b>.jpg", image: grey(20, 40), rows: [{ label: "MPN & more", cells }] };

test("a map is enlarged with its values at the centres of its cells", () => {
  const map = { rows: 2, columns: 1, values: Float32Array.of(0, 1) };
  assert.equal(Array.from(enlarge(map, 1, 4)), [0, 0.25, 0.75, 1]);
  assert.equal(Array.from(enlarge({ rows: 1, columns: 2, values: Float32Array.of(1, 3) }, 2, 2)), [1, 3, 1, 3]);
  const same = Float32Array.from({ length: 6 }, (_, i) => i / 5);
  assert.equal(enlarge({ rows: 3, columns: 2, values: same }, 2, 3), same);
  const shrunk = enlarge({ rows: 1, columns: 4, values: Float32Array.of(0, 1, 1, 0) }, 1, 1);
  assert.equal(Array.from(shrunk), [1]);
});

test("colours grow lighter from 0 to 1", () => {
  const lightness = ([r, g, b]: readonly number[]) => 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2;
  for (let i = 1; i <= 100; i++) assert.ok(lightness(colourOf(i / 100)) > lightness(colourOf((i - 1) / 100)), `${i}`);
  assert.equal(colourOf(2), colourOf(1));
  assert.equal(colourOf(-1), colourOf(0));
});

test("the overlay is lightest where the map is 1, and the picture shows through", () => {
  const plain = grey(2, 3);
  const { data } = overlay(plain, spot(3, 2, 3));
  const pixels = Array.from({ length: 6 }, (_, i) => data.subarray(3 * i, 3 * i + 3).reduce((a, b) => a + b));
  assert.is(pixels.indexOf(Math.max(...pixels)), 3);
  plain.data.set([0, 0, 0], 9);
  assert.ok(overlay(plain, spot(3, 2, 3)).data[9] < data[9]);
});

test("the PNG has a cell for the picture and each map, each where it belongs", async () => {
  const png = await attentionPicture({
    ...figure,
    rows: [...figure.rows, { label: "Baseline", cells: cells.slice(1) }],
  });
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  assert.is(info.width, 10 + 4 * (144 + 10));
  const red = (x: number, y: number) => data[3 * (y * info.width + x)];
  // The last rows are all of the last model's: the third map's cell is empty there.
  const column = (i: number) => 10 + i * 154 + 72;
  const bands = Array.from({ length: info.height }, (_, y) => red(column(3), y) < 255 && red(column(0), y) < 255);
  const first = bands.indexOf(true);
  const rows = bands.filter(Boolean).length;
  assert.is(rows, 288, "the picture's height");
  assert.ok(bands.slice(first, first + rows).every(Boolean));
  // Map 1 has its spot in the lower left cell, map 2 in the lower right one.
  const low = first + 250;
  assert.ok(red(column(2) - 50, low) > red(column(2) + 50, low) + 60);
  assert.ok(red(column(3) + 50, low) > red(column(3) - 50, low) + 60);
  assert.ok(red(column(1) - 50, first + 30) > red(column(1) - 50, low) + 60);
});

if (process.platform === "linux") {
  test("without fonts there is a picture without letters", async () => {
    const fonts = join(temporaryFolder(), "fonts.conf");
    writeFileSync(fonts, '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig/>');
    const program = `
      import { attentionPicture } from "#src/report/attention.js";
      const cells = [{ title: "part 1", caption: [], rows: 1, columns: 1, values: Float32Array.of(1) }];
      const image = { width: 2, height: 4, data: new Uint8Array(24) };
      process.stdout.write(await attentionPicture({ label: "a", image, rows: [{ label: "b", cells }] }));`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      cwd: root,
      env: { ...process.env, FONTCONFIG_FILE: fonts },
    });
    assert.is(status, 0, String(stderr));
    assert.is((await sharp(stdout).metadata()).height, 288 + 2 * 10);
  });
}

test("the page holds all pictures, fetches nothing and escapes what it is given", async () => {
  const page = await renderAttentionPage({
    title: "Where",
    adapter: { name: "none", software: false },
    shown: "Each map is of somebody.",
    facts: ["People"],
    models: [{ label: "MPN & more", facts: [3] }],
    figures: [figure, figure],
  });
  assert.is(page.split('src="data:image/jpeg;base64,').length - 1, 2 * 4);
  assert.not.match(page, /https?:\/\//);
  assert.not.match(page, "<b>.jpg");
  assert.match(page, "&lt;b&gt;.jpg");
  assert.match(page, "MPN &amp; more");
  assert.not.match(page, "uPlot");
});

test.run();
