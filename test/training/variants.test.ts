import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readSafetensors } from "#src/formats/safetensors.js";
import { loadConfig } from "#src/training/load-config.js";
import { PAPER_ORDER, TABLES, VARIANT_KEYS, VARIANTS, variantOf } from "#src/training/variants.js";

/** The fixture of each variant; the reference says there how it is configured. */
const FIXTURES = {
  baseline: "baseline",
  "mt-only": "mt-only",
  "naive-mtl": "naive-mtl",
  "c1-s": "c1-shared",
  "c2-s": "c2-shared",
  "c1-s-c2-s": "c1-c2-shared",
  cf: "class-features",
  mpn0: "mpn0",
  mpn: "mpn",
  "mpn-star": "mpn-star",
  "uniform-division": "uniform-division",
  "roi-resize": "roi-resize",
  "batch-wise": "align-batch",
  "sample-wise-sum": "align-sample-sum",
  "sample-wise": "align-sample",
  "soft-conv1-0.1": "soft-conv1",
  "soft-conv2-1": "soft-conv2",
};

for (const [name, fixture] of Object.entries(FIXTURES))
  test(`${name} is what the reference computes as ${fixture}`, async () => {
    const { metadata } = await readSafetensors(join(import.meta.dirname, `../fixtures/${fixture}.safetensors`));
    const reference = JSON.parse(metadata.config);
    const settings: Record<string, unknown> = variantOf(name).settings;
    for (const key of VARIANT_KEYS) if (key in reference) assert.is(settings[key], reference[key], key);
  });

const NAIVE = { tasks: "main+aux", shareConv1: false, shareConv2: false, alignment: "none" };
const PLAIN = { model: "mpn", channelAttention: false, spatialAttention: false, prior: "mask" };
/** The weights of Fig. 9, of which fixtures hold one of each layer. */
const LITERALLY = {
  "soft-conv1-0.01": { ...PLAIN, ...NAIVE, softShare: "conv1", softShareWeight: 0.01 },
  "soft-conv1-0.1": { ...PLAIN, ...NAIVE, softShare: "conv1", softShareWeight: 0.1 },
  "soft-conv1-1": { ...PLAIN, ...NAIVE, softShare: "conv1", softShareWeight: 1 },
  "soft-conv1-10": { ...PLAIN, ...NAIVE, softShare: "conv1", softShareWeight: 10 },
  "soft-conv2-0.01": { ...PLAIN, ...NAIVE, softShare: "conv2", softShareWeight: 0.01 },
  "soft-conv2-0.1": { ...PLAIN, ...NAIVE, softShare: "conv2", softShareWeight: 0.1 },
  "soft-conv2-1": { ...PLAIN, ...NAIVE, softShare: "conv2", softShareWeight: 1 },
  "soft-conv2-10": { ...PLAIN, ...NAIVE, softShare: "conv2", softShareWeight: 10 },
};

test("every weight of Fig. 9 has the settings that the paper gives", () => {
  for (const [name, settings] of Object.entries(LITERALLY)) assert.equal(variantOf(name).settings, settings, name);
  assert.equal(
    [...VARIANTS.keys()].filter((name) => !(name in FIXTURES) && !(name in LITERALLY)),
    [],
  );
  const [curves] = TABLES.filter(({ id }) => id === "9").map(({ curves }) => curves);
  for (const [i, layer] of ["conv1", "conv2"].entries()) {
    assert.equal(curves![i].weights, [0.01, 0.1, 1, 10]);
    assert.equal(
      curves![i].variants,
      [0.01, 0.1, 1, 10].map((weight) => `soft-${layer}-${weight}`),
    );
  }
});

test("every variant makes a valid configuration, different from all others", () => {
  const seen = new Set<string>();
  for (const name of VARIANTS.keys()) {
    const config = loadConfig({ variant: name });
    seen.add(JSON.stringify(VARIANT_KEYS.map((key) => config[key])));
  }
  assert.is(seen.size, VARIANTS.size);
  assert.is(loadConfig({ variant: "mt-only", set: ["alignment=none"] }).tasks, "main");
  assert.throws(() => loadConfig({ variant: "mt" }), /no variant "mt"; use baseline/);
});

test("the paper's figures agree with its conclusions, as far as it gives them", () => {
  for (const [worse, better] of PAPER_ORDER) {
    const [a, b] = [variantOf(worse).paper, variantOf(better).paper];
    if (!a || !b) continue;
    assert.ok(a.market[1] < b.market[1], `${worse} < ${better}`);
    if (a.duke && b.duke) assert.ok(a.duke[1] < b.duke[1], `${worse} < ${better}`);
  }
  const used = new Set(TABLES.flatMap(({ rows }) => rows.map(({ variant }) => variant)));
  assert.equal(
    [...VARIANTS.keys()].filter((name) => !used.has(name)),
    [],
  );
});

test.run();
