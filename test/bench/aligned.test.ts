/** bench/aligned.ts on a few synthetic people, whose test pictures have maps. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments } from "../support/tiny.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("features of the whole map, those by each picture's maps, and both, as far as a network has the tasks", async () => {
  const folder = temporaryFolder();
  const people = join(folder, "people");
  const counts = ["--train-people", "3", "--test-people", "2", "--cameras", "2", "--images-per-camera", "2"];
  assert.is((await mpn(["synth", people, ...counts, "--size", "48x16", "--test-maps"])).code, 0);
  const mapped = readdirSync(join(people, "parsing"));
  for (const subset of ["query", "bounding_box_test", "bounding_box_train"])
    for (const name of readdirSync(join(people, subset)))
      assert.ok(mapped.includes(name.replace(/\.jpg$/, ".png")), name);
  const trained = async (variant: string) => {
    const out = join(folder, variant);
    const run = ["train", people, "--variant", variant, "--out", out, "--no-evaluate", ...tinyArguments];
    const { code, stderr } = await mpn([...run, "--set", "epochs=1"]);
    assert.is(code, 0, stderr);
    return join(out, "checkpoint.safetensors");
  };
  const [both, main, aux] = [await trained("mpn0"), await trained("mt-only"), await trained("baseline")];
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["--import", "tsx", "bench/aligned.ts", people, both, main, aux],
    { cwd: root, encoding: "utf8" },
  );
  assert.is(status, 0, stderr);
  const rows = stdout
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/ {2,}/));
  assert.equal(
    rows.map(([path, features]) => [path, features.replace(/\d+\.\d%/, "%")]),
    [
      [both, "h, of the whole map"],
      [both, "g, by the picture's own maps (% reliable)"],
      [both, "both"],
      [main, "h, of the whole map"],
      [aux, "g, by the picture's own maps (% reliable)"],
    ],
  );
  for (const [, , rank1, mAP] of rows) assert.match(`${rank1} ${mAP}`, /^\d+\.\d% \d+\.\d%$/);
  // What a network without AT says of a picture is what evaluate finds.
  const plain = await mpn(["evaluate", people, "--weights", main, "--no-flip", "--json"]);
  const { rank1, mAP } = JSON.parse(plain.stdout);
  assert.equal(
    rows[3].slice(2),
    [rank1, mAP].map((rate) => `${(100 * rate).toFixed(1)}%`),
  );
});

test.run();
