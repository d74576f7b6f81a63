import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { shaderTexts } from "#src/generated/shaders.js";
import { RUNGS } from "#src/ops/conv-tiles.js";
import { readTuned, shaderHash, tunedPath, writeTuned } from "#src/tuning/cache.js";
import { paperProfile } from "../support/profile.js";

const profile = paperProfile({ name: "card", vendor: "nvidia", description: "driver 1.2", software: false });
const choices = { "forward 64x64": { kernel: "tiled", tile: RUNGS["64x64, 4x4"] } };

let folder = "";
const warnings: string[] = [];
const warn = (line: string) => warnings.push(line);
const before = process.env.MPN_TUNED;

test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), "mpn-tuned-"));
  process.env.MPN_TUNED = join(folder, "made on demand");
  warnings.length = 0;
});
test.after.each(() => rm(folder, { recursive: true }));
test.after(() => {
  if (before === undefined) delete process.env.MPN_TUNED;
  else process.env.MPN_TUNED = before;
});

test("what was written is read, and nothing is left beside it", async () => {
  assert.equal(await readTuned(profile, warn), {}, "nothing is there yet");
  const path = tunedPath(profile)!;
  await writeTuned(path, profile, choices);
  assert.equal(await readTuned(profile, warn), choices);
  assert.equal(await readdir(process.env.MPN_TUNED!), [path.split(/[\\/]/).at(-1)]);
  assert.equal(warnings, []);
});

test("another driver or adapter has a file of its own", () => {
  const others = [{ description: "driver 1.3" }, { name: "other card" }, { vendor: "amd" }, { architecture: "ada" }];
  const paths = [profile, ...others.map((other) => ({ ...profile, ...other }))].map((p) => tunedPath(p));
  assert.is(new Set(paths).size, paths.length);
  assert.is(tunedPath({ ...profile, maxBufferBytes: 1 }), tunedPath(profile));
});

test("it lies in the user's cache folder, or is off", () => {
  assert.match(tunedPath(profile, "")!, /mpn-webgpu[\\/]tuned-\w+\.json$/);
  assert.is(tunedPath(profile, "off"), null);
});

test("a file that is damaged, foreign or of other shaders is ignored with a warning", async () => {
  const path = tunedPath(profile)!;
  await writeTuned(path, profile, choices);
  const good = JSON.parse(await readFile(path, "utf8"));
  const cases: [string, unknown, RegExp][] = [
    ["cut off", `${JSON.stringify(good).slice(0, 60)}`, /damaged/],
    ["empty", "", /damaged/],
    ["something else", { hello: 1 }, /damaged/],
    ["of an earlier format", { ...good, format: 1 }, /another version/],
    ["of no format", { ...good, format: "2" }, /damaged/],
    ["a fraction", { ...good, choices: { k: { kernel: "tiled", tile: { tm: 0.5 } } } }, /damaged/],
    [
      "another adapter's",
      { ...good, adapter: ["toy", "", "", "driver 0"] },
      /made for toy \(driver 0\), this is card \(driver 1.2\)/,
    ],
    ["of other shaders", { ...good, shaders: "0" }, /other shaders/],
  ];
  for (const [name, content, why] of cases) {
    warnings.length = 0;
    await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
    assert.equal(await readTuned(profile, warn), {}, name);
    assert.is(warnings.length, 1, name);
    assert.match(warnings[0], why);
    assert.ok(warnings[0].includes(path), "the warning names the file");
  }
});

test("a folder in the file's place is ignored, and refused when it would be written", async () => {
  const path = tunedPath(profile, folder)!;
  await writeTuned(join(path, "in the way.json"), profile, choices);
  process.env.MPN_TUNED = folder;
  assert.equal(await readTuned(profile, warn), {});
  assert.match(warnings[0], /it is a folder/);
  let message = "";
  await writeTuned(path, profile, choices).catch((error: Error) => {
    message = error.message;
  });
  assert.match(message, /^Cannot write /);
});

test("the shaders' hash changes with any text that a convolution is made of, and with no other", () => {
  for (const name of ["conv", "conv_tiled", "tiled_ahead", "elem", "stationary_products"] as const)
    assert.is.not(shaderHash({ ...shaderTexts, [name]: `${shaderTexts[name]}\n// changed` }), shaderHash(), name);
  assert.is(shaderHash({ ...shaderTexts, max_pool: "" }), shaderHash());
});

test.run();
