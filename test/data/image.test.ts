import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DecodePool } from "#src/data/decode-pool.js";
import { decodeImage, ImageError, type RgbImage } from "#src/data/image.js";
import { picture, put, withFolder } from "./helpers.js";

async function imageError(promise: Promise<unknown>): Promise<ImageError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("no error was thrown");
}

function near(image: RgbImage, [width, height]: number[], rgb: number[], tolerance = 3) {
  assert.equal([image.width, image.height, image.data.length], [width, height, width * height * 3]);
  for (let i = 0; i < image.data.length; i++)
    assert.ok(Math.abs(image.data[i] - rgb[i % 3]) <= tolerance, `byte ${i}: ${image.data[i]}, not ${rgb[i % 3]}`);
}

test("decodes by content, whatever the name says", () =>
  withFolder(async (folder) => {
    for (const format of ["jpeg", "png", "webp"] as const) {
      const path = join(folder, `${format}.jpg`);
      await put(path, await picture(13, 7, [200, 100, 30], format));
      near(await decodeImage(path), [13, 7], [200, 100, 30]);
    }
  }));

test("grey, transparent and 16-bit pictures become RGB of 8 bits", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a.png");
    const grey = sharp(Buffer.alloc(12, 90), { raw: { width: 4, height: 3, channels: 1 } });
    await put(path, await grey.toColourspace("b-w").png().toBuffer());
    near(await decodeImage(path), [4, 3], [90, 90, 90], 0);
    const clear = sharp({ create: { width: 4, height: 3, channels: 4, background: { r: 9, g: 8, b: 7, alpha: 0.5 } } });
    await put(path, await clear.png().toBuffer());
    near(await decodeImage(path), [4, 3], [9, 8, 7], 0);
    const deep = sharp(new Uint16Array(36).fill(0x4080), { raw: { width: 4, height: 3, channels: 3 } });
    await put(path, await deep.toColourspace("rgb16").png().toBuffer());
    near(await decodeImage(path), [4, 3], [0x40, 0x40, 0x40], 1);
  }));

test("applies the EXIF rotation", () =>
  withFolder(async (folder) => {
    // Left half black, right half white; orientation 6 turns it clockwise: black on top.
    const data = Buffer.from(Array.from({ length: 16 * 8 * 3 }, (_, i) => (Math.floor(i / 3) % 16 < 8 ? 0 : 255)));
    const path = join(folder, "a.jpg");
    const raw = { raw: { width: 16, height: 8, channels: 3 as const } };
    await put(path, await sharp(data, raw).withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer());
    const image = await decodeImage(path);
    assert.equal([image.width, image.height], [8, 16]);
    assert.ok(image.data[0] < 10 && image.data[image.data.length - 1] > 245);
  }));

test("pictures above maxPixels are halved until they fit", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a.jpg");
    await put(path, await picture(101, 60, [10, 20, 30]));
    near(await decodeImage(path, { maxPixels: 101 * 60 }), [101, 60], [10, 20, 30]);
    near(await decodeImage(path, { maxPixels: 101 * 60 - 1 }), [51, 30], [10, 20, 30]);
    near(await decodeImage(path, { maxPixels: 400 }), [26, 15], [10, 20, 30]);
  }));

test("files that are no pictures give an ImageError with the path", () =>
  withFolder(async (folder) => {
    const jpeg = await sharp({
      create: {
        width: 64,
        height: 128,
        channels: 3,
        noise: { type: "gaussian", mean: 128, sigma: 40 },
        background: "red",
      },
    })
      .jpeg()
      .toBuffer();
    const bad: [string, string | Uint8Array, RegExp][] = [
      ["half.jpg", jpeg.subarray(0, jpeg.length / 2), /premature end/],
      // The end marker and a byte of the picture. Without the marker alone nothing is missing, and one in ten decodes.
      ["cut.jpg", jpeg.subarray(0, jpeg.length - 3), /premature end/],
      ["empty.jpg", "", /empty/],
      ["text.jpg", "not a picture", /unsupported/],
      ["vector.jpg", '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>', /its content is svg/],
    ];
    for (const [name, content, reason] of bad) {
      await put(join(folder, name), content);
      const error = await imageError(decodeImage(join(folder, name)));
      assert.is(error.path, join(folder, name));
      assert.match(error.message, error.path);
      assert.match(error.reason, reason);
    }
    assert.match((await imageError(decodeImage(join(folder, "none.jpg")))).reason, "no such file");
  }));

test("a pool decodes as the function does, in any number of threads", () =>
  withFolder(async (folder) => {
    const paths = Array.from({ length: 20 }, (_, i) => join(folder, `${i}.png`));
    for (const [i, path] of paths.entries()) await put(path, await picture(5 + i, 9, [i, 2 * i, 3 * i], "png"));
    await put(paths[7], "broken");
    for (const workers of [1, 3]) {
      const pool = new DecodePool({ workers, maxPixels: 20 * 9 });
      const results = await Promise.allSettled(paths.map((path) => pool.decode(path)));
      for (const [i, result] of results.entries()) {
        if (result.status === "fulfilled") assert.equal(result.value, await decodeImage(paths[i], { maxPixels: 180 }));
        else assert.ok(i === 7 && result.reason instanceof ImageError && result.reason.path === paths[7]);
      }
      assert.is(results[7].status, "rejected");
      await pool.close();
    }
  }));

test("closing rejects what waits, lets what runs finish, and may be repeated", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a.jpg");
    await put(path, await picture(64, 128, [1, 2, 3]));
    const pool = new DecodePool({ workers: 1 });
    const jobs = Promise.allSettled([pool.decode(path), pool.decode(path)]);
    await Promise.all([pool.close(), pool.close()]);
    assert.equal(
      (await jobs).map(({ status }) => status),
      ["fulfilled", "rejected"],
    );
    const [late] = await Promise.allSettled([pool.decode(path)]);
    assert.match((late as PromiseRejectedResult).reason.message, /closed/);
  }));

test("a thread that dies rejects its job alone", () =>
  withFolder(async (folder) => {
    const script = join(folder, "worker.mjs");
    await put(
      script,
      `import { parentPort } from "node:worker_threads";
      parentPort.on("message", ({ path }) => {
        if (path === "throws") throw new Error("out of luck");
        if (path === "exits") process.exit(3);
        parentPort.postMessage({ image: { width: 1, height: 1, data: new Uint8Array(3) } });
      });`,
    );
    const pool = new DecodePool({ workers: 1, script: pathToFileURL(script) });
    const results = await Promise.allSettled(["a", "throws", "b", "exits", "c"].map((path) => pool.decode(path)));
    const told = results.map((result) => (result.status === "fulfilled" ? "image" : String(result.reason.message)));
    assert.equal([told[0], told[2], told[4]], ["image", "image", "image"]);
    assert.match(told[1], /decoded throws died: out of luck/);
    assert.match(told[3], /decoded exits died: exit code 3/);
    await pool.close();
  }));

test("an idle pool lets the process end, a busy one does not, a closed one is awaited", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a.png");
    await put(path, await picture(4, 4, [1, 2, 3], "png"));
    const module = JSON.stringify(import.meta.resolve("#src/data/decode-pool.js"));
    const run = (tail: string) => {
      const code = `import { DecodePool } from ${module};
        const pool = new DecodePool({ workers: 2 });
        const image = await pool.decode(${JSON.stringify(path)});
        ${tail}
        console.log(image.width);`;
      return spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8", timeout: 30_000 });
    };
    for (const tail of ["", "await pool.close();"]) {
      const { status, stdout, stderr } = run(tail);
      assert.equal([status, stdout.trim(), stderr], [0, "4", ""]);
    }
  }));

test.run();
