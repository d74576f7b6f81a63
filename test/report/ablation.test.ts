import { test } from "uvu";
import * as assert from "uvu/assert";
import { type AblationData, type AblationRun, ablationMarkdown, summarizeAblation } from "#src/report/ablation.js";
import { renderAblationPage } from "#src/report/ablation-page.js";
import { pairedDifference, spreadOf, studentT975 } from "#src/report/statistics.js";

const near = (a: number | null | undefined, b: number, tolerance = 1e-9) =>
  assert.ok(typeof a === "number" && Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("spread and paired intervals", () => {
  assert.is(spreadOf([]), null);
  assert.equal(spreadOf([0.5]), { n: 1, mean: 0.5, sd: null });
  near(spreadOf([1, 2, 4])?.mean, 7 / 3);
  near(spreadOf([1, 2, 4])?.sd, Math.sqrt(7 / 3));
  const a = new Map([
    [0, 1],
    [1, 2],
    [2, 3],
    [7, 9],
  ]);
  const b = new Map([
    [2, 3.2],
    [0, 1.1],
    [1, 2.3],
    [8, 0],
  ]);
  // Differences 0.1, 0.3, 0.2: sd 0.1, t(2) = 4.30265.
  const paired = pairedDifference(a, b);
  assert.equal([paired?.n, paired?.wins], [3, 3]);
  near(paired?.mean, 0.2);
  near(paired?.low, 0.2 - (4.30265 * 0.1) / Math.sqrt(3), 1e-6);
  near(paired?.high, 0.2 + (4.30265 * 0.1) / Math.sqrt(3), 1e-6);
  assert.is(pairedDifference(a, new Map([[5, 1]])), null);
});

test("Student's t as in the tables", () => {
  for (const [freedom, t] of [
    [1, 12.706],
    [2, 4.303],
    [6, 2.447],
    [7, 2.365],
    [10, 2.228],
    [30, 2.042],
    [120, 1.98],
  ])
    near(studentT975(freedom), t, 1e-3);
});

const run = (variant: string, seed: number, mAP: number | null): AblationRun => ({
  variant,
  seed,
  adapter: "Some GPU",
  steps: 10,
  secondsPerStep: 1,
  evaluateSeconds: 2,
  metrics: mAP === null ? null : { rank1: mAP + 0.1, mAP, mAPTrapezoid: mAP - 0.02 },
  failed: mAP === null ? "the loss id is not finite | <b>" : null,
});

const data: AblationData = {
  title: "Ablation on <people>",
  adapter: { name: "Some GPU", software: false },
  configuration: { lr: 0.01, imageSize: [96, 32] },
  dataset: "people: 3 training",
  notes: ["train: with <val>"],
  seeds: [0, 1, 2],
  planned: 12,
  runs: [
    ...[0.3, 0.31, 0.32].map((mAP, seed) => run("worse", seed, mAP)),
    ...[0.4, 0.412, 0.418].map((mAP, seed) => run("better", seed, mAP)),
    ...[0.35, 0.44, null].map((mAP, seed) => run("wild", seed, mAP)),
  ],
  variants: { worse: "Worse", better: "Better", wild: "Wild", none: "Not begun" },
  tables: [
    {
      id: "9",
      title: "A table",
      note: "A note.",
      databases: ["market"],
      rows: ["worse", "better", "wild", "none"].map((variant) => ({ variant, label: variant, against: "better" })),
      curves: [{ title: "Curve", weights: [0.1, 1], variants: ["worse", "wild"], references: ["better"] }],
    },
  ],
  paper: { worse: { market: [94.2, 84.4] } },
  databases: { market: "Market-1501", duke: "Duke" },
  order: [
    ["worse", "better"],
    ["better", "worse"],
    ["better", "wild"],
    ["worse", "none"],
  ],
};

test("verdicts on the paper's order come from the paired interval", () => {
  const { order, tables } = summarizeAblation(data);
  assert.equal(
    order.map(({ worse, better, verdict }) => [worse, better, verdict]),
    [
      ["worse", "better", "as in the paper"],
      ["better", "worse", "the other way round"],
      ["better", "wild", "within the spread"],
    ],
  );
  const [worse, better, wild, none] = tables[0].rows;
  near(worse.against?.difference.mAP?.mean, -0.1);
  assert.is(better.against, null);
  near(better.above?.difference.mAP?.mean, 0.1);
  assert.equal([wild.results.mAP?.n, wild.failed], [2, 1]);
  assert.is(none.results.mAP, null);
});

test("Markdown and page show the same cells, escaped", async () => {
  const summary = summarizeAblation(data);
  const markdown = ablationMarkdown(data, summary);
  assert.match(markdown, "| worse | 41.0 ± 1.0 | 31.0 ± 1.0 | 29.0 ± 1.0 | 3 | -10.0 [-10.5, -9.5] |  | 94.2 / 84.4 |");
  assert.match(markdown, /\| wild \| .* \| 2 \(1 failed\) \|/);
  assert.match(markdown, /\| none \| not yet \|/);
  assert.match(markdown, "9 of 12 runs done, 1 of them failed, 10 steps each; seeds 0, 1, 2.");
  assert.match(markdown, "A note.");
  assert.match(markdown, "train: with <val>");
  const page = await renderAblationPage(data, summary);
  for (const text of [
    "-10.0 [-10.5, -9.5]",
    "&lt;people&gt;",
    "train: with &lt;val&gt;",
    "1 failed",
    "within the spread",
    "not finite | &lt;b&gt;",
  ]) {
    assert.ok(page.includes(text), text);
  }
  assert.is([...page.matchAll(/<circle /g)].length, 2 * 8, "a dot for every finished run, in both plots");
  const [chart] = JSON.parse(page.match(/<script type="application\/json" id="charts">(.*?)<\/script>/s)![1]);
  assert.equal(chart.xNames, ["0.1", "1"]);
  near(chart.series[1].values[1], 0.51, 1e-9);
});

test.run();
