import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readLabelMap } from "#src/data/label-map.js";
import { readSyntheticOptions, type SynthOptions, writeSyntheticDataset } from "#src/data/synth/dataset.js";
import { UserError } from "#src/errors.js";

const test = suite<{ dir: string }>("synthetic dataset");
const SMALL: Partial<SynthOptions> = {
  trainPeople: 3,
  testPeople: 2,
  cameras: 2,
  imagesPerCamera: 2,
  size: [64, 32],
  distractors: 3,
  junk: 2,
};

test.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), "mpn-synth-"));
});
test.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

function contents(dir: string): Record<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(dir.length), readFileSync(path, "base64")]));
}

async function refusal(promise: Promise<unknown>): Promise<UserError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, UserError);
    return error as UserError;
  }
  return assert.unreachable("should have been refused") as never;
}

test("writes Market-1501's layout with maps of the training pictures", async ({ dir }) => {
  const target = join(dir, "new", "set");
  const progress: [number, number][] = [];
  const summary = await writeSyntheticDataset(target, SMALL, (done, total) => progress.push([done, total]));
  assert.equal(summary.train, { people: 3, images: 12, cameras: 2 });
  assert.equal(summary.query, { people: 2, images: 4, cameras: 2 });
  assert.equal(summary.gallery, { people: 2, images: 4, cameras: 2, distractors: 3, junk: 2 });
  assert.equal(progress[progress.length - 1], [25, 25]);
  assert.is(progress.length, 25);

  const names = (folder: string) => readdirSync(join(target, folder)).sort();
  const all = [...names("bounding_box_train"), ...names("query"), ...names("bounding_box_test")];
  assert.is(all.length, 25);
  assert.is(new Set(all).size, 25);
  for (const name of all) assert.match(name, /^(\d{4}|-1)_c[12]s1_\d{6}_00\.jpg$/);
  const ids = (folder: string) => [...new Set(names(folder).map((name) => name.split("_")[0]))].sort();
  assert.equal(ids("bounding_box_train"), ["0001", "0002", "0003"]);
  assert.equal(ids("query"), ["0004", "0005"]);
  assert.equal(ids("bounding_box_test"), ["-1", "0000", "0004", "0005"]);
  const pairs = names("query").map((name) => name.slice(0, 7));
  assert.equal(pairs, ["0004_c1", "0004_c2", "0005_c1", "0005_c2"]);

  const stems = names("bounding_box_train").map((name) => name.replace(".jpg", ".png"));
  assert.equal(names("parsing"), stems);
  assert.equal(names("segmentation"), stems);
  const labels = new Set<number>();
  for (const stem of stems) {
    const picture = await sharp(join(target, "bounding_box_train", stem.replace(".png", ".jpg"))).metadata();
    assert.equal([picture.format, picture.height, picture.width], ["jpeg", 64, 32]);
    for (const folder of ["parsing", "segmentation"]) {
      const path = join(target, folder, stem);
      const { format, channels, bitsPerSample } = await sharp(path).metadata();
      assert.equal([format, channels, bitsPerSample ?? 8], ["png", 1, 8]);
      const map = await readLabelMap(path);
      assert.equal([map.height, map.width], [64, 32]);
      for (const value of map.data) {
        if (folder === "parsing") labels.add(value);
        else assert.ok(value === 0 || value === 255, `segmentation ${value}`);
      }
    }
  }
  assert.ok(Math.max(...labels) < 20 && labels.size > 6, `labels ${[...labels]}`);
  assert.equal(await readSyntheticOptions(target), summary.options);
  assert.equal(readdirSync(join(dir, "new")), ["set"]);
});

test("equal options give equal bytes, another seed gives others", async ({ dir }) => {
  const write = async (name: string, options: Partial<SynthOptions>) => {
    await writeSyntheticDataset(join(dir, name), { ...SMALL, ...options });
    return contents(join(dir, name));
  };
  const first = await write("a", { seed: 5 });
  assert.equal(await write("b", { seed: 5 }), first);
  const other = await write("c", { seed: 6 });
  assert.equal(Object.keys(other), Object.keys(first));
  const same = Object.keys(first).filter((path) => path.endsWith(".jpg") && first[path] === other[path]);
  assert.equal(same, []);
});

test("PNG without maps, training people only, one camera", async ({ dir }) => {
  const options = { trainPeople: 2, testPeople: 0, cameras: 1, imagesPerCamera: 1, distractors: 0, junk: 0 } as const;
  const target = join(dir, "png");
  await writeSyntheticDataset(target, { ...options, format: "png", maps: false, size: [96, 40] });
  assert.equal(readdirSync(target).sort(), ["bounding_box_test", "bounding_box_train", "query", "synthetic.json"]);
  const files = readdirSync(join(target, "bounding_box_train"));
  assert.equal(files, ["0001_c1s1_000001_00.png", "0002_c1s1_000026_00.png"]);
  const { format, height, width, channels } = await sharp(join(target, "bounding_box_train", files[0])).metadata();
  assert.equal([format, height, width, channels], ["png", 96, 40, 3]);
});

test("replaces its own dataset and leaves any other folder alone", async ({ dir }) => {
  const target = join(dir, "set");
  mkdirSync(target);
  await writeSyntheticDataset(target, SMALL);
  const { options } = await writeSyntheticDataset(target, { ...SMALL, trainPeople: 1 });
  assert.equal(await readSyntheticOptions(target), options);
  assert.is(readdirSync(join(target, "bounding_box_train")).length, 4);

  const foreign = join(dir, "photos");
  mkdirSync(foreign);
  writeFileSync(join(foreign, "holiday.jpg"), "precious");
  const error = await refusal(writeSyntheticDataset(foreign, SMALL));
  assert.match(error.message, foreign);
  assert.equal(readdirSync(foreign), ["holiday.jpg"]);
  assert.is(await readSyntheticOptions(foreign), undefined);
  assert.equal(readdirSync(dir).sort(), ["photos", "set"]);
});

test("a killed run leaves no half-made dataset, and the next one cleans up", async ({ dir }) => {
  const target = join(dir, "set");
  const script = `import { writeSyntheticDataset } from "#src/data/synth/dataset.js";
    await writeSyntheticDataset(process.argv[1], { trainPeople: 200 }, (done) => done === 3 && console.log("on its way"));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, target]);
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.not(existsSync(target));
  assert.ok(existsSync(`${target}.partial`));
  await writeSyntheticDataset(target, SMALL);
  assert.equal(readdirSync(dir), ["set"]);
});

test("options out of range and folders that cannot be are named", async ({ dir }) => {
  const wrong = async (options: Record<string, unknown>) => {
    const error = await refusal(writeSyntheticDataset(join(dir, "set"), options as Partial<SynthOptions>));
    assert.is(error.exitCode, 2);
    return error.message;
  };
  assert.match(await wrong({ cameras: 12 }), /cameras/);
  assert.match(await wrong({ size: [128, 0] }), /size/);
  assert.match(await wrong({ imagesPerCamera: 1 }), /queries/);
  assert.match(await wrong({ cameras: 1 }), /another camera/);
  assert.match(await wrong({ trainPeople: 0, testPeople: 0 }), /no people/);
  assert.match(await wrong({ trainpeople: 4 }), /trainpeople/);
  assert.equal(readdirSync(dir), []);

  const file = join(dir, "file");
  writeFileSync(file, "");
  assert.match((await refusal(writeSyntheticDataset(join(file, "set"), SMALL))).message, file);
  assert.match((await refusal(writeSyntheticDataset(file, SMALL))).message, file);
});

test.run();
