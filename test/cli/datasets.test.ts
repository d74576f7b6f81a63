/** Datasets of several layouts in the commands: multi-query, other datasets after training, what is said of them. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mpn } from "../support/mpn.js";
import { temporaryFolder, tinyArguments, writeTinyDataset } from "../support/tiny.js";

const folder = temporaryFolder();
const first = join(folder, "first");
const second = join(folder, "second");
const people = join(folder, "people");
const list = join(folder, "list.csv");
const out = join(folder, "run");
let after: Record<string, number>;
const weights = ["--weights", join(out, "checkpoint.safetensors")];

async function json(...args: string[]) {
  const { code, stdout, stderr } = await mpn([...args, "--json"]);
  assert.is(code, 0, stderr);
  return { ...JSON.parse(stdout), stderr };
}

test.before(async () => {
  await writeTinyDataset(first);
  // The same numbers stand for other people in the second set.
  await writeTinyDataset(second, 5);
  mkdirSync(join(first, "gt_bbox"));
  for (const image of readdirSync(join(first, "query"))) {
    cpSync(join(first, "query", image), join(first, "gt_bbox", image));
    cpSync(
      join(first, "bounding_box_test", image.replace("c1s1_000000", "c2s1_000001")),
      join(first, "gt_bbox", image.replace("000000", "000009")),
    );
  }
  // Pictures sorted by people under names that tell no camera, and listed with their cameras.
  const rows = ["path,pid,camid,subset"];
  for (const [part, subset] of Object.entries({ query: "query", bounding_box_test: "gallery" }))
    for (const image of readdirSync(join(first, part))) {
      const [pid, camera] = [image.slice(0, 4), image[6]];
      const file = join(subset, `p${pid}`, `${camera}${image.slice(-13)}`);
      cpSync(join(first, part, image), join(people, file));
      rows.push(`${join("people", file)},p${pid},${camera},${subset}`);
    }
  writeFileSync(list, rows.join("\n"));
});

test("train --test evaluates on other datasets once trained, into JSON, report and table", async () => {
  const args = ["train", first, "--out", out, ...tinyArguments, "--set", "epochs=1"];
  const { stderr, ...result } = await json(...args, "--test", second, "--test", `csv:${list}`, "--test", people);
  assert.equal(
    result.tests.map((one: { dataset: string; queries: number }) => [one.dataset, one.queries]),
    [
      ["second", 2],
      ["list", 2],
      ["people", 2],
    ],
  );
  const page = readFileSync(result.report, "utf8");
  assert.match(page, "Other datasets");
  assert.match(page, '<th scope="row">second</th>');
  assert.match(page, "people: The camera of 2 of 2 queries is not known");
  // The list holds the first dataset's images.
  const { dataset: _, layout, root: __, ...fields } = result.tests[1];
  assert.is(layout, "csv");
  after = result.after;
  assert.equal(fields, after);
  const alone = await json("evaluate", second, ...weights);
  assert.is(alone.mAP, result.tests[0].mAP);
  const refused = await mpn([...args, "--no-evaluate", "--test", second]);
  assert.is(refused.code, 2);
  const missing = await mpn([...args, "--test", join(folder, "nowhere")]);
  assert.equal([missing.code, /No dataset at .*nowhere/.test(missing.stderr)], [1, true]);
});

test("train re-ranks and pools multi-queries as evaluate does, on its own dataset and the others", async () => {
  const asked = ["--rerank-k1", "3", "--rerank-lambda", "0.5", "--multi-query", "max"];
  mkdirSync(join(second, "gt_bbox"));
  for (const image of readdirSync(join(second, "query")))
    cpSync(join(second, "query", image), join(second, "gt_bbox", image));
  const folderOfRun = join(folder, "asked");
  const args = ["train", first, "--out", folderOfRun, ...tinyArguments, "--set", "epochs=1", "--test", second];
  const { before, after, tests, report } = await json(...args, ...asked);
  const checkpoint = join(folderOfRun, "checkpoint.safetensors");
  const evaluated = await json("evaluate", first, second, "--weights", checkpoint, ...asked);
  const figures = ["rank1", "mAP", "mAPTrapezoid", "rerank", "multiQuery"];
  for (const [i, own] of [after, tests[0]].entries())
    for (const figure of figures) assert.equal(own[figure], evaluated.datasets[i][figure], `${figure} of ${i}`);
  assert.equal([after.rerank.k1, after.rerank.k2, after.rerank.lambda, after.multiQuery.images], [3, 6, 0.5, 4]);
  assert.equal(Object.keys(after.multiQuery.max).at(-1), "rerank");
  assert.not.ok("rerank" in before);
  const page = readFileSync(report, "utf8");
  // The change is that of training, whatever columns follow.
  const [step] = /<th scope="row">mAP \(step.*?<\/tr>/s.exec(page)!;
  const cells = [...step.matchAll(/<td>(.*?)<\/td>/g)].map(([, cell]) => cell);
  assert.is(cells.length, 6);
  const gain = 100 * (after.mAP - before.mAP);
  assert.is(cells[5], `${gain < 0 ? "-" : "+"}${Math.abs(gain).toFixed(1)}`);
  for (const label of ["re-ranked", "multi-query (max)"]) {
    assert.match(page, `<th scope="col">${label}</th>`);
    assert.match(page, `<th scope="row">second, ${label}</th>`);
  }
  // Whoever lacks multi-query images is named before anything is trained.
  const lacking = await mpn([...args, "--test", people, "--multi-query", "avg", "--resume"]);
  assert.is(lacking.code, 1);
  assert.match(lacking.stderr, "people brings no images for multi-query evaluation");
  // As is whoever does not know the queries' cameras.
  cpSync(join(people, "query"), join(people, "multi-query"), { recursive: true });
  const blind = await mpn([...args, "--test", people, "--multi-query", "avg", "--resume"]);
  assert.is(blind.code, 1);
  assert.match(blind.stderr, "people: a multi-query is made of the images by the query's own camera");
  assert.not.match(blind.stderr, "adapter:");
  for (const option of [["--rerank"], ["--rerank-k2", "3"], ["--multi-query", "avg"]]) {
    const refused = await mpn([...args.slice(0, -2), "--no-evaluate", ...option]);
    assert.is(refused.code, 2);
    assert.match(refused.stderr, /asks for an evaluation, --no-evaluate for none/);
  }
});

test("evaluate --multi-query gives the single query's figures and those of each pooling", async () => {
  const { multiQuery, stderr, ...single } = await json("evaluate", first, ...weights, "--multi-query", "both");
  for (const field of ["rank1", "mAP", "mAPTrapezoid", "queries"]) assert.is(single[field], after[field]);
  assert.equal([multiQuery.images, multiQuery.alone], [4, 0]);
  assert.equal(Object.keys(multiQuery).sort(), ["alone", "average", "images", "max"]);
  for (const pooling of ["average", "max"])
    assert.equal(Object.keys(multiQuery[pooling]), [
      "rank1",
      "rank5",
      "rank10",
      "rank20",
      "mAP",
      "mAPTrapezoid",
      "queries",
      "skipped",
    ]);
  const { stdout } = await mpn(["evaluate", first, ...weights, "--multi-query", "max", "--rerank"]);
  assert.match(stdout, /multi-query \| /);
  assert.match(stdout, "multi-query (max)");
  for (const row of [/^re-ranked {2}/m, /^re-ranked \(max\) {2}/m]) assert.match(stdout, row);
  const page = join(folder, "reranked.html");
  const reported = await json("evaluate", first, ...weights, "--multi-query", "max", "--rerank", "--report", page);
  const [, headline] = /<dd>([\d.]+ %)<small>.*?checkpoint\.safetensors/.exec(readFileSync(page, "utf8"))!;
  assert.is(headline, `${(100 * reported.rank1).toFixed(1)} %`);
  assert.not.match(readFileSync(page, "utf8"), "Change");
});

test("a tree of people without cameras: the evaluation says what it cannot leave out", async () => {
  const report = join(folder, "people.html");
  const { stdout } = await mpn(["evaluate", people, ...weights, "--report", report]);
  assert.match(stdout, /camera of 2 of 2 queries is not known/);
  assert.match(readFileSync(report, "utf8"), "camera of 2 of 2 queries is not known");
  const page = join(folder, "both.html");
  const refused = await mpn(["evaluate", people, first, ...weights, "--report", page]);
  assert.is(refused.code, 2);
  assert.match(refused.stderr, "--report is a page of one dataset, and 2 are named");
  assert.not.ok(existsSync(page));
  const both = await json("evaluate", people, `market1501:${first}`, ...weights);
  assert.equal(
    both.datasets.map(({ layout, sameCameraExcluded }: Record<string, unknown>) => [layout, sameCameraExcluded]),
    [
      ["folders", false],
      ["market1501", true],
    ],
  );
  assert.match(both.stderr, "warning: Market-1501 has 3,368 query images of 750 people; found 2 of 2 people.");
});

test("prior reads any layout too", async () => {
  const { images } = await json("prior", `market:${first}`, "--preset", "small");
  assert.is(images, 12);
});

test("explain takes the people from a dataset whose names do not tell them", async () => {
  const [person, name] = ["p0002", "1_000000_00.jpg"];
  const train = readdirSync(join(first, "bounding_box_train")).find((image) => image.startsWith("0002_c1"))!;
  const tree = join(folder, "trained");
  for (const pid of ["p0001", person, "p0003"]) cpSync(join(first, "bounding_box_train", train), join(tree, pid, name));
  const args = ["explain", join(tree, person), ...weights, "--class", "true", "--out", join(folder, "explained")];
  const { images } = await json(...args, "--data", `folders:${tree}`);
  const shown = images[0].models[0].classifiers.map(({ person }: { person: number }) => person);
  assert.ok(shown.length > 0 && shown.every((pid: number) => pid === 2));
  const { stderr } = await json(...args, "--data", second);
  assert.match(stderr, "none of the images is listed in");
});

test("ablate reads any layout too, and its tables say what the evaluation cannot leave out", async () => {
  for (const image of readdirSync(join(first, "bounding_box_train")))
    cpSync(join(first, "bounding_box_train", image), join(people, "train", `p${image.slice(0, 4)}`, image.slice(6)));
  const args = ["ablate", "--data", people, "--layout", "folders", "--tables", "1", "--variants", "mt-only"];
  const few = ["--seeds", "1", ...tinyArguments, "--set", "epochs=1", "--out", join(folder, "ablation")];
  const { finished, notes } = await json(...args, ...few);
  assert.is(finished, 1);
  assert.match(notes.join(), "camera of 2 of 2 queries is not known");
  assert.match(readFileSync(join(folder, "ablation", "ablation.md"), "utf8"), "camera of 2 of 2 queries is not known");
});

test.run();
