/** What training says of the time in which steps wait for their pictures. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

test("pictures that take long to decode are what steps wait for", async () => {
  const folder = temporaryFolder();
  const [small, large] = ["small", "large"].map((name) => join(folder, name));
  await writeTinyDataset(small);
  await writeTinyDataset(large);
  const images = join(large, "bounding_box_train");
  const picture = await sharp({ create: { width: 3000, height: 6000, channels: 3, background: "teal" } })
    .jpeg()
    .toBuffer();
  for (const name of readdirSync(images)) writeFileSync(join(images, name), picture);
  const train = (dataset: string, ...more: string[]) =>
    mpn(["train", dataset, "--out", join(dataset, "run"), "--no-evaluate", ...tinyArguments, ...more]);

  const slow = await train(large, "--json");
  assert.is(slow.code, 0, slow.stderr);
  const { dataSeconds, trainSeconds } = JSON.parse(slow.stdout);
  assert.ok(dataSeconds > 0.5 * trainSeconds && dataSeconds <= trainSeconds, `${dataSeconds} of ${trainSeconds} s`);

  const { stdout } = await train(small);
  const [, seconds, share] = /^6 steps in \d+s, (\d+\.\d) s waiting for pictures \((\d+\.\d)%\)$/m.exec(stdout)!;
  assert.ok(Number(seconds) < dataSeconds && Number(share) <= 100, `${seconds} s of small pictures, ${dataSeconds} s`);
});

test.run();
