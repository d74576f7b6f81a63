/** What training says of the time in which steps wait for their pictures. How long that is, no test can say. */
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

test("training says how much of its time steps waited for pictures, as text and as data", async () => {
  const dataset = join(temporaryFolder(), "data");
  await writeTinyDataset(dataset);
  const train = (name: string, ...more: string[]) =>
    mpn(["train", dataset, "--out", join(dataset, name), "--no-evaluate", ...tinyArguments, ...more]);

  const asData = await train("data", "--json");
  assert.is(asData.code, 0, asData.stderr);
  const { dataSeconds, trainSeconds } = JSON.parse(asData.stdout);
  // The first batch is asked for when training starts, so that its step waits however fast the decoder is.
  assert.ok(dataSeconds > 0 && dataSeconds < trainSeconds, `${dataSeconds} of ${trainSeconds} s`);

  const { stdout } = await train("text");
  const line = /^6 steps in \d+s, \d+\.\d s waiting for pictures \((\d+\.\d)%\)$/m.exec(stdout);
  assert.ok(line, stdout);
  assert.ok(Number(line[1]) < 100, line[0]);
});

test.run();
