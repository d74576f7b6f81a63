import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { type Chart, cmcChart, trainingCharts } from "#src/report/charts.js";
import type { Evaluation, Picture, RankedListData, ReportData } from "#src/report/data.js";
import { html } from "#src/report/html.js";
import { rankedListPicture, thumbnail } from "#src/report/pictures.js";
import { duration, renderReport, writeReport } from "#src/report/report.js";

const hostile = `</script><img src="http://evil.example/x" onerror='alert(1)'> & "quoted"`;

const colourPicture = async (colour: string, label: string): Promise<Picture> => ({
  image: await sharp({ create: { width: 48, height: 112, channels: 3, background: colour } })
    .png()
    .toBuffer(),
  label,
});

const evaluation = (label: string, start: number, mAP: number): Evaluation => {
  const cmc = Float64Array.from({ length: 50 }, (_, rank) => Math.min(1, start + rank / 20));
  const [rank1, rank5, rank10, rank20] = [cmc[0], cmc[4], cmc[9], cmc[19]];
  return { label, cmc, rank1, rank5, rank10, rank20, mAP, mAPTrapezoid: mAP - 0.02, queries: 120, skipped: 3 };
};

async function rankedList(label = "gallery.jpg"): Promise<RankedListData> {
  return {
    query: await colourPicture("#888888", "query.jpg"),
    matches: [
      { ...(await colourPicture("#0000ff", label)), similarity: 0.98765, right: true },
      { ...(await colourPicture("#ffff00", label)), similarity: 0.5, right: false },
    ],
  };
}

async function sample(changes: Partial<ReportData> = {}): Promise<ReportData> {
  return {
    title: "MPN on synthetic people",
    subtitle: "mpn train --preset small",
    adapter: { name: "Some GPU", software: false },
    configuration: { preset: "small", backbone: { layers: [1, 1], width: 16 }, resume: null, unused: undefined },
    dataset: { name: "runs/demo", subsets: [{ subset: "train", people: 60, images: 1441, cameras: 6 }] },
    evaluations: [evaluation("untrained", 0.2134, 0.118), evaluation("trained", 0.8755, 0.7351)],
    metrics: [1, 2, 3].map((step) => ({ step, lr: 0.01, loss: { total: 5 / step, id: 4 / step } })),
    rankedLists: [await rankedList()],
    timings: [{ name: "Training", milliseconds: 157_000, note: "600 steps" }],
    ...changes,
  };
}

/** Text between tags, without scripts and styles; and a check that all elements are closed in order. */
function textOf(page: string): string {
  const voids = new Set(["meta", "img"]);
  const open: string[] = [];
  const body = page.replace(/<(script|style)\b[^>]*>.*?<\/\1>/gs, "").replace("<!doctype html>", "");
  const text = body.replace(
    /<(\/?)([a-z][a-z0-9]*)(?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*\s*(\/?)>/g,
    (_, end, name, self) => {
      if (end) assert.is(open.pop(), name);
      else if (!self && !voids.has(name)) open.push(name);
      return " ";
    },
  );
  assert.equal(open, []);
  assert.not.match(text, /[<>]/);
  return text.replace(/\s+/g, " ");
}

const chartsOf = (page: string): Chart[] =>
  JSON.parse(page.match(/<script type="application\/json" id="charts">(.*?)<\/script>/s)![1]);

test("the page holds metrics, series, configuration, dataset and times", async () => {
  const page = await renderReport(await sample());
  const text = textOf(page);
  for (const part of [
    "MPN on synthetic people",
    "Adapter: Some GPU",
    "Rank-1 21.3 % 87.5 % +66.2",
    "mAP (step: torchreid, fast-reid) 11.8 % 73.5 % +61.7",
    "mAP (trapezoid: original Market-1501 code) 9.8 % 71.5 % +61.7",
    "120 queries counted, 3 skipped",
    "train 60 1441 6",
    "Training 600 steps 2 min 37 s",
    "backbone.layers 1, 1",
    "resume none",
    "query 0.988 0.500",
  ])
    assert.ok(text.includes(part), `"${part}" is missing from: ${text}`);
  assert.not.match(text, "unused");
  assert.not.match(text, "Software adapter");
  assert.equal(
    chartsOf(page).map(({ title, series }) => [title, series.map(({ label }) => label)]),
    [
      ["CMC", ["untrained", "trained"]],
      ["Losses", ["total", "id"]],
      ["Learning rate", ["lr"]],
    ],
  );
  assert.equal(chartsOf(page)[1].series[0].values, [5, 2.5, 5 / 3]);
});

test("right and wrong are marked by words and symbols, not by colour alone", async () => {
  const page = await renderReport(await sample());
  assert.match(page, /<li class="right"[^>]*>.*?alt="1, right: gallery\.jpg".*?<path d="([^"]+)"/s);
  assert.match(page, /<li class="wrong"[^>]*>.*?alt="2, wrong: gallery\.jpg".*?<path d="([^"]+)"/s);
  const marks = [...page.matchAll(/<path d="([^"]+)"/g)].map((match) => match[1]);
  assert.is(new Set(marks).size, 2);
});

test("a software adapter is said loudly", async () => {
  const page = await renderReport(await sample({ adapter: { name: "llvmpipe", software: true } }));
  assert.match(textOf(page), /Software adapter: llvmpipe\. No GPU took part/);
});

test("nothing is fetched", async () => {
  const page = await renderReport(await sample());
  assert.match(page, "default-src 'none'");
  for (const [, target] of page.matchAll(/\b(?:src|href|srcset|action|data)="([^"]*)"/g))
    assert.match(target, /^data:/);
  assert.not.match(page, /@import|url\(|<link\b|\bfetch\(|XMLHttpRequest/);
});

test("names with HTML-special characters stay text", async () => {
  const data = await sample({
    title: hostile,
    subtitle: hostile,
    adapter: { name: hostile, software: true },
    configuration: { [hostile]: hostile },
    dataset: { name: hostile, subsets: [{ subset: hostile, people: 1, images: 1, cameras: 1 }] },
    evaluations: [evaluation(hostile, 0.1, 0.1)],
    metrics: [{ step: 1, [`loss.${hostile}`]: 1 }],
    rankedLists: [{ ...(await rankedList(hostile)), caption: hostile }],
    timings: [{ name: hostile, milliseconds: 1, note: hostile }],
  });
  const page = await renderReport(data);
  const text = textOf(page);
  assert.match(
    text,
    "&lt;/script&gt;&lt;img src=&quot;http://evil.example/x&quot; onerror=&#39;alert(1)&#39;&gt; &amp;",
  );
  assert.not.match(page, '<img src="http');
  assert.is(page.match(/<\/script>/g)?.length, 3);
  assert.equal(chartsOf(page)[0].series[0].label, hostile);
});

test("the page's script draws every chart with its series", async () => {
  const page = await renderReport(await sample());
  const scripts = [...page.matchAll(/<script>(.*?)<\/script>/gs)].map((match) => match[1]);
  interface Options {
    series: { label: string }[];
    scales: { y: { range?: (plot: unknown, low: number, high: number) => [number, number] } };
  }
  const drawn: (Options & { data: number[][] })[] = [];
  const elements = [...page.matchAll(/data-chart="(\d+)"/g)].map(([, chart]) => ({
    dataset: { chart },
    clientWidth: 500,
  }));
  class FakePlot {
    width = 500;
    constructor(options: Options, data: number[][]) {
      drawn.push({ ...options, data });
    }
  }
  runInNewContext(scripts[1], {
    uPlot: FakePlot,
    document: {
      documentElement: {},
      getElementById: () => ({ textContent: JSON.stringify(chartsOf(page)) }),
      querySelectorAll: () => elements,
    },
    getComputedStyle: () => ({ getPropertyValue: () => " #123456" }),
    ResizeObserver: class {
      observe() {}
    },
    matchMedia: () => ({ addEventListener() {} }),
  });
  assert.equal(
    drawn.map(({ series }) => series.map(({ label }) => label).join()),
    ["rank,untrained,trained", "step,total,id", "step,lr"],
  );
  for (const { series, data } of drawn) assert.is(series.length, data.length);
  const range = drawn[0].scales.y.range!;
  assert.equal([...range(null, 0.27, 1)], [0.2, 1]);
  assert.equal([...range(null, 1, 1)], [0.9, 1], "a perfect curve still has an axis");
  assert.match(scripts[0], /var uPlot=/);
});

test("parts without data are left out", async () => {
  const page = await renderReport(
    await sample({ evaluations: [], metrics: [], rankedLists: [], timings: [], configuration: {} }),
  );
  assert.not.match(textOf(page), /Retrieval|Training|Ranked lists|Configuration|NaN|undefined/);
  const single = textOf(await renderReport(await sample({ evaluations: [evaluation("trained", 0.5, 0.5)] })));
  assert.match(single, "Rank-1 50.0 % Rank-5");
  assert.not.match(single, "Change");
});

test("other rankings of one network are columns, and no stage of a training", async () => {
  const others = [evaluation("re-ranked", 0.8, 0.9), evaluation("multi-query (max)", 0.7, 0.8)];
  const aside = others.map((one) => ({ ...one, aside: true }));
  const page = await renderReport(await sample({ evaluations: [evaluation("trained", 0.5, 0.5), ...aside] }));
  const text = textOf(page);
  assert.match(text, "Rank-1 50.0 % trained Rank-5");
  assert.match(text, "Measure trained re-ranked multi-query (max) Rank-1 50.0 % 80.0 % 70.0 %");
  assert.not.match(text, "Change");
  assert.equal(
    chartsOf(page)[0].series.map(({ label, dashed }) => [label, dashed]),
    [
      ["trained", false],
      ["re-ranked", true],
      ["multi-query (max)", true],
    ],
  );
});

test("pictures that their EXIF turns are shown upright, as the network sees them", async () => {
  // Stored 40 x 20, red on the left; turned by a quarter, red is at the top.
  const sides = ["#ff0000", "#0000ff"].map((background, i) => ({
    input: { create: { width: 20, height: 20, channels: 3 as const, background } },
    left: 20 * i,
    top: 0,
  }));
  const image = await sharp({ create: { width: 40, height: 20, channels: 3, background: "#000000" } })
    .composite(sides)
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
    .toBuffer();
  const query = { image, label: "turned.jpg" };
  const uri = (await thumbnail(query))!;
  const shown = sharp(Buffer.from(uri.split(",")[1], "base64"));
  const { data, info } = await shown.raw().toBuffer({ resolveWithObject: true });
  assert.equal([info.width, info.height], [20, 40]);
  assert.ok(data[0] > 200 && data[data.length - 1] > 200, "red at the top, blue at the bottom");
  const png = await rankedListPicture([{ query, matches: [] }], { cellWidth: 40, cellHeight: 80, topK: 0 });
  const drawn = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const [top, bottom] = [24, 64].map((y) => [...drawn.data.subarray((y * drawn.info.width + 24) * 3).subarray(0, 3)]);
  assert.ok(top[0] > 200 && top[2] < 60 && bottom[2] > 200 && bottom[0] < 60, `${top} above ${bottom}`);
});

test("a picture that cannot be read costs its place, not the report", async () => {
  const list = await rankedList();
  const text = textOf(
    await renderReport(await sample({ rankedLists: [{ ...list, query: { image: "/absent.jpg", label: "x" } }] })),
  );
  assert.match(text, "cannot be read");
});

test("charts of many rows are averaged in groups, gaps stay gaps", () => {
  const rows = Array.from({ length: 2500 }, (_, i) => ({
    step: i,
    loss: i % 3,
    ...(i < 3 ? { "loss.id": Number.NaN } : { "loss.id": 1 }),
  }));
  const [losses] = trainingCharts([...rows, { note: "a line without a step" }]);
  assert.is(losses.x.length, 834);
  assert.match(losses.title, "mean of 3 rows");
  assert.equal(losses.series[0].values.slice(0, 2), [1, 1]);
  assert.equal(losses.series[1].values.slice(0, 2), [null, 1]);
  assert.equal(losses.x.slice(0, 2), [1, 4]);
});

test("evaluations within training are drawn over the epochs, from two of them on", () => {
  const steps = [1, 2, 3, 4].map((step) => ({ step, epoch: Math.floor((step - 1) / 2), lr: 0.1, loss: { total: 1 } }));
  const rows = [1, 2].map((epoch) => ({
    step: 2 * epoch,
    epoch,
    evaluation: { rank1: epoch / 10, rank5: 1, mAP: epoch / 20, queries: 9 },
  }));
  const [losses, rate, retrieval] = trainingCharts([...steps, ...rows]);
  for (const { x } of [losses, rate]) assert.equal(x, [1, 2, 3, 4]);
  assert.equal(
    [retrieval.title, retrieval.xLabel, retrieval.unit, retrieval.x],
    ["Rank-1 and mAP over epochs", "epoch", "percent", [1, 2]],
  );
  assert.equal(retrieval.series, [
    { label: "Rank-1", values: [0.1, 0.2] },
    { label: "mAP", values: [0.05, 0.1] },
  ]);
  assert.is(trainingCharts([...steps, rows[0]]).length, 2);
});

test("the learning rate is logarithmic unless it touches zero", () => {
  const chart = (rates: number[]) => trainingCharts(rates.map((lr, step) => ({ step, lr })))[0];
  assert.is(chart([0.1, 0.01]).logarithmic, true);
  assert.is(chart([0, 0.01]).logarithmic, false);
});

test("CMC curves end with the shortest", () => {
  const short = { ...evaluation("a", 0.5, 0.5), cmc: [0.5, 0.6] };
  const chart = cmcChart([short, evaluation("b", 0.1, 0.1)]);
  assert.equal(chart.x, [1, 2]);
  assert.equal(chart.series[0].values, [0.5, 0.6]);
  assert.is(chart.series[1].values.length, 2);
});

test("durations are written for people", () => {
  for (const [milliseconds, text] of [
    [0.5236, "0.524 ms"],
    [38, "38 ms"],
    [4210, "4.2 s"],
    [59_990, "1 min 00 s"],
    [185_400, "3 min 05 s"],
    [7_620_000, "2 h 07 min"],
  ] as const)
    assert.is(duration(milliseconds), text);
});

test("html escapes values and keeps its own output", () => {
  assert.is(html`<b title="${'"'}">${["<", html`<i>${1}</i>`]}</b>`.text, '<b title="&quot;">&lt;<i>1</i></b>');
});

test("the report is written, folders are made, and a failure names the file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mpn-report-"));
  try {
    const path = join(folder, "runs/demo/report.html");
    const data = await sample();
    await writeReport(path, data);
    assert.is(readFileSync(path, "utf8"), await renderReport(data));
    writeFileSync(join(folder, "file"), "");
    await writeReport(join(folder, "file/report.html"), data).then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, UserError);
        assert.match(error.message, "file/report.html");
      },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("ranked lists as a picture: frames in their colours, rows and columns in place", async () => {
  const list = await rankedList();
  const size = { cellWidth: 40, cellHeight: 100 };
  const png = await rankedListPicture([list, { ...list, matches: list.matches.slice(1) }], size);
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  assert.equal([info.width, info.height], [4 + 8 + 3 * 44, 4 + 2 * 104]);
  const near = (x: number, y: number, colour: number[]) => {
    const pixel = [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)];
    assert.ok(
      pixel.every((value, i) => Math.abs(value - colour[i]) < 24),
      `${x},${y}: ${pixel} is not ${colour}`,
    );
  };
  const [blue, green, red, white] = [
    [37, 99, 235],
    [21, 128, 61],
    [200, 30, 30],
    [255, 255, 255],
  ];
  const middle = 4 + 50;
  near(4, middle, blue);
  near(24, middle, [136, 136, 136]);
  near(56, middle, green);
  near(76, middle, [0, 0, 255]);
  near(100, middle, red);
  near(120, middle, [255, 255, 0]);
  near(48, middle, white);
  near(56, middle + 104, red);
  near(120, middle + 104, white);
  const failure = rankedListPicture([{ ...list, query: { image: "/absent.jpg", label: "absent.jpg" } }]);
  await failure.then(
    () => assert.unreachable(),
    (error) => {
      assert.instance(error, UserError);
      assert.match(error.message, "absent.jpg");
    },
  );
});

test.run();
