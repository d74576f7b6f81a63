/** Grad-CAM against finite differences of a float64 reference, and on people who differ by nothing but a planted patch. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { RgbImage } from "#src/data/image.js";
import { packImages } from "#src/data/image-batch.js";
import { Program } from "#src/graph/program.js";
import { input, type Tensor } from "#src/graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { IMAGE_TABLE_COLUMNS, prepareImages } from "#src/ops/index.js";
import { integer, type RandomGenerator, seededRng } from "#src/random.js";
import { GradCam } from "#src/retrieval/gradcam.js";
import { partLabels, trainingStep } from "#src/training/step.js";
import { closeDevice, draw, relativeError, sharedDevice } from "../support/op.js";

const [HEIGHT, WIDTH] = [96, 64];
/** Pixels of a cell of the feature map, and of a planted patch. */
const CELL = 16;
const [ROWS, COLUMNS] = [HEIGHT / CELL, WIDTH / CELL];
const COLOURS = [
  [220, 30, 30],
  [30, 200, 40],
  [40, 60, 230],
  [230, 210, 40],
];
const TINY = {
  layers: [1, 1, 1, 1],
  width: 8,
  imageSize: [HEIGHT, WIDTH],
  parts: 3,
  partDim: 16,
  triplet: false,
  identities: COLOURS.length + 1,
};

type Cell = readonly [row: number, column: number];

/**
 * Grey noise, and in cells of the map the colour that tells who it is. The last person has no colour, so that the
 * absence of the others' colours is no cue for anyone else.
 */
function planted(person: number, cells: readonly Cell[], seed: number): RgbImage {
  const rng = seededRng(seed);
  const data = new Uint8Array(HEIGHT * WIDTH * 3);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const inside = cells.some(([row, column]) => Math.floor(y / CELL) === row && Math.floor(x / CELL) === column);
      const grey = integer(rng, 60, 190);
      data.set((inside && COLOURS[person]) || [grey, grey, grey], (y * WIDTH + x) * 3);
    }
  }
  return { width: WIDTH, height: HEIGHT, data };
}

/** Network input from pictures of the network's own size. */
function pictureInputs(batch: number): Tensor {
  const bytes = input("bytes", [(batch * HEIGHT * WIDTH * 3) / 4], "u32");
  return prepareImages(bytes, input("table", [batch, IMAGE_TABLE_COLUMNS], "i32"), HEIGHT, WIDTH);
}

/** A random cell in the stripe of each part. */
const patches = (rng: RandomGenerator): Cell[] =>
  Array.from({ length: TINY.parts }, (_, k) => [
    (k * ROWS) / TINY.parts + integer(rng, 0, ROWS / TINY.parts - 1),
    integer(rng, 0, COLUMNS - 1),
  ]);

/** Steps that a network takes at most to learn the colours, and steps at a lower rate once it knows them. */
const [MOST_STEPS, LAST_STEPS] = [400, 80];
/** A cross entropy of a classifier that knows the colours; chance is 1.6. */
const KNOWS = 0.25;

/** Trains a network on patches in random places until it knows them; returns its weights and running statistics. */
async function trained(config: ModelConfig): Promise<Map<string, NamedArray>> {
  const device = await sharedDevice();
  const batch = 3 * (COLOURS.length + 1);
  const store = new ParameterStore();
  const step = trainingStep(store, config, pictureInputs(batch));
  store.allocate(device, 0);
  const program = await Program.compile(device, { outputs: { id: step.losses.id }, updates: step.updates });
  // MPN's loss is that of two tasks.
  const tasks = config.model === "mpn" && config.tasks === "main+aux" ? 2 : 1;
  const known = KNOWS * tasks * modelOf(config).classifiersPerImage(config);
  let [recent, end] = [Number.POSITIVE_INFINITY, MOST_STEPS];
  for (let i = 0; i < end; i++) {
    const rng = seededRng(7, i);
    const labels = Int32Array.from({ length: batch }, (_, at) => at % (COLOURS.length + 1));
    const images = Array.from(labels, (label, at) => planted(label, patches(rng), 1000 * i + at));
    const feeds = {
      ...packImages(
        images,
        images.map((_, image) => ({ image })),
      ),
      mask: new Float32Array(batch * ROWS * COLUMNS).fill(1),
      roi: Float32Array.from({ length: 4 * batch }, (_, at) => [0, 0, ROWS, COLUMNS][at % 4]),
      labels,
      partLabels: partLabels(labels, config),
      dropoutSeed: Uint32Array.of(i),
      hyper: Float32Array.of(end === MOST_STEPS ? 0.05 : 0.01, 0.9, 5e-4, 0),
    };
    const taken = Object.fromEntries(Object.entries(feeds).filter(([name]) => program.takes(name)));
    const { id } = await program.run(taken, ["id"]);
    recent = i === 0 ? id[0] : 0.8 * recent + 0.2 * id[0];
    if (end === MOST_STEPS && recent < known) end = i + 1 + LAST_STEPS;
  }
  const weights = await store.read(device);
  program.destroy();
  store.destroy(device);
  return weights;
}

async function gradCam(config: ModelConfig, weights: ReadonlyMap<string, NamedArray>, batch: number) {
  const device = await sharedDevice();
  const store = new ParameterStore();
  GradCam.declare(store, config);
  store.allocate(device, 0);
  assert.equal(store.load(device, weights, "the test").missing, []);
  return GradCam.create(device, store, config, batch);
}

/** Cells beside a place, itself included. */
const near = (at: number, [row, column]: Cell) =>
  Math.abs(Math.floor(at / COLUMNS) - row) <= 1 && Math.abs((at % COLUMNS) - column) <= 1;

const PLACES: readonly Cell[] = [
  [0, 0],
  [0, 3],
  [2, 1],
  [5, 0],
  [5, 3],
];

/** Whether stripe k of `count` has the row. */
const within = (k: number, count: number, row: number) => k === Math.floor((row * count) / ROWS);
const inStripe = (k: number, row: number) => within(k, TINY.parts, row);
/** MGN of two branches: both whole maps, then the halves of the second. */
const inRegion = (k: number, row: number) => k < 2 || within(k - 2, 2, row);
/** First and last stripe of Pyramid's branches, in their order. */
const RUNS = [0, 1, 2].flatMap((more) => [0, 1, 2].slice(more).map((last) => [last - more, last]));
const inRun = (k: number, row: number) => RUNS[k][0] <= Math.floor(row / 2) && Math.floor(row / 2) <= RUNS[k][1];

for (const { name, settings, sees } of [
  { name: "MPN: every classifier", settings: { prior: "uniform" }, sees: () => true },
  { name: "the Baseline: the classifier of the patch's stripe", settings: { tasks: "aux" }, sees: inStripe },
  { name: "PCB: the classifier of the patch's stripe", settings: { model: "pcb" }, sees: inStripe },
  { name: "IDE: its one classifier", settings: { model: "ide", parts: undefined }, sees: () => true },
  { name: "MGN: every classifier whose region has the patch", settings: { model: "mgn", parts: 2 }, sees: inRegion },
  { name: "Pyramid: every classifier whose stripes have the patch", settings: { model: "pyramid" }, sees: inRun },
]) {
  test(`${name} looks at the patch that tells who it is, wherever that is`, async () => {
    const config = parseModelConfig({ ...TINY, ...settings });
    const cam = await gradCam(config, await trained(config), COLOURS.length);
    for (const place of PLACES) {
      const pictures = COLOURS.map((_, person) => planted(person, [place], 5 + person));
      const total = new Float64Array(ROWS * COLUMNS);
      const people = COLOURS.map((_, person) => person);
      for (const [person, found] of (await cam.ofImages(pictures, people)).entries()) {
        const looking = found.filter((_, k) => sees(k, place[0]));
        assert.ok(looking.length > 0);
        for (const { name, shown, probability, rows, columns, values } of looking) {
          assert.is(shown, person, `${name} at [${place}]`);
          assert.ok(probability > 0 && probability <= 1, `probability ${probability}`);
          assert.ok(values.every((v) => v >= 0 && v <= 1));
          // MGN's first branch has cells of two by two of the others'.
          assert.equal(values.length, rows * columns);
          const size = ROWS / rows;
          assert.is(columns * size, COLUMNS);
          for (const at of total.keys())
            total[at] += values[Math.floor(at / COLUMNS / size) * columns + Math.floor((at % COLUMNS) / size)];
        }
      }
      const all = total.reduce((a, b) => a + b);
      const share = (of: Cell) => total.reduce((sum, v, at) => sum + (near(at, of) ? v : 0), 0) / all;
      assert.ok(near(total.indexOf(Math.max(...total)), place), `the peak is elsewhere than at [${place}]`);
      // A map that knows nothing has 0.17 of its mass there, in the corners, and 0.38 elsewhere.
      assert.ok(share(place) > 0.5, `${share(place)} of the mass at [${place}]`);
      for (const other of PLACES) {
        const apart = Math.abs(other[0] - place[0]) > 2 || Math.abs(other[1] - place[1]) > 2;
        if (apart) assert.ok(share(other) < 0.25, `${share(other)} at [${other}], the patch is at [${place}]`);
      }
    }
    cam.destroy();
  });
}

for (const { model, names, sizes } of [
  { model: "ide", names: ["global"], sizes: [ROWS * COLUMNS] },
  {
    model: "mgn",
    names: ["branch 1", "branch 2", "branch 2, stripe 1", "branch 2, stripe 2"],
    sizes: [(ROWS * COLUMNS) / 4, ROWS * COLUMNS, ROWS * COLUMNS, ROWS * COLUMNS],
  },
  {
    model: "pyramid",
    names: ["stripe 1", "stripe 2", "stripes 1 to 2"],
    sizes: [ROWS * COLUMNS, ROWS * COLUMNS, ROWS * COLUMNS],
  },
]) {
  test(`every classifier of ${model} has a map of its own`, async () => {
    const { parts: _, ...settings } = TINY;
    const config = parseModelConfig({ ...settings, model, ...(model !== "ide" && { parts: 2 }) });
    const device = await sharedDevice();
    const store = new ParameterStore();
    GradCam.declare(store, config);
    store.allocate(device, 3);
    const cam = await gradCam(config, await store.read(device), 2);
    assert.equal(cam.names, names);
    const [found, other] = await cam.ofImages([planted(0, [[1, 1]], 11), planted(2, [[4, 2]], 12)], [1, 2]);
    assert.equal(
      found.map(({ values }) => values.length),
      sizes,
    );
    for (const { shown, values, rows, columns } of found) {
      assert.is(shown, 1);
      assert.is(values.length, rows * columns);
      assert.ok([0, 1].includes(Math.max(...values)));
    }
    // A map is empty where every channel that counts speaks against the class.
    const maps = [...found, ...other].filter(({ values }) => values.includes(1)).map(({ values }) => values.join());
    assert.ok(maps.length > names.length / 2);
    assert.is(new Set(maps).size, maps.length);
    // The same picture alone, in another slot's company, gives the same.
    const [again] = await cam.ofImages([planted(0, [[1, 1]], 11)], [1]);
    assert.equal(again, found);
    cam.destroy();
    store.destroy(device);
  });
}

/** Parameters of the parts drawn anew, so that no bias, scale or running statistic is at its trivial initial value. */
function drawn(weights: ReadonlyMap<string, NamedArray>): Map<string, NamedArray> {
  return new Map(
    [...weights].map(([name, { shape, data }], i) => {
      if (!name.startsWith("parts.")) return [name, { shape, data }];
      const values = draw(data.length, "uniform", i);
      return [
        name,
        { shape, data: Float32Array.from(values, (v) => (name.endsWith("running_var") ? 0.5 + v * v : v)) },
      ];
    }),
  );
}

/** Score of a class by part k's classifier on a map [positions, channels], in float64: the head of Fig. 3 and 6. */
function scoreOf(weights: ReadonlyMap<string, NamedArray>, k: number, label: number, task: string, visible: number[]) {
  const get = (name: string) => weights.get(`parts.${k}.${name}`)!.data;
  const linear = (name: string, x: ArrayLike<number>) =>
    Array.from(get(`${name}.bias`), (bias, o) => {
      const w = get(`${name}.weight`).subarray(o * x.length, (o + 1) * x.length);
      return w.reduce((sum, v, c) => sum + v * x[c], bias);
    });
  const norm = (name: string, x: readonly number[]) =>
    x.map((v, c) => {
      const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
        (what) => get(`${name}.${what}`)[c],
      );
      return ((v - mean) / Math.sqrt(variance + 1e-5)) * gamma + beta;
    });
  const positive = (x: readonly number[]) => x.map((v) => Math.max(0, v));
  return (map: Float64Array, channels: number): number => {
    const each = visible.map((at) =>
      positive(norm("bn1", linear("conv1", map.subarray(at * channels, (at + 1) * channels)))),
    );
    let v = each[0].map((_, c) => Math.max(...each.map((x) => x[c])));
    const squeezed = positive(norm("attention.bn1", linear("attention.conv1", v)));
    const gate = norm("attention.bn2", linear("attention.conv2", squeezed));
    v = v.map((x, c) => x / (1 + Math.exp(-gate[c])));
    return linear(`${task}_classifier`, positive(norm("bn2", linear("conv2", v))))[label];
  };
}

for (const tasks of ["main", "aux"]) {
  test(`maps of ${tasks} are those of finite differences of the score`, async () => {
    const config = parseModelConfig({ ...TINY, width: 1, tasks });
    const device = await sharedDevice();
    const store = new ParameterStore();
    GradCam.declare(store, config);
    store.allocate(device, 3);
    const weights = drawn(await store.read(device));
    const cam = await gradCam(config, weights, 2);
    const pictures = [planted(0, [[1, 1]], 11), planted(2, [[4, 2]], 12)];
    const classes = [3, null];
    const found = await cam.ofImages(pictures, classes);
    assert.is(found[0][0].shown, 3);

    // The map itself, and the scores, from a program without gradients.
    store.load(device, weights, "the test");
    const built = modelOf(config).classifiers(new Build(store, false), config, pictureInputs(2));
    const plain = await Program.compile(device, { outputs: { map: built[0].map, scores: built[1].scores } });
    const slots = pictures.map((_, image) => ({ image }));
    const { map, scores } = await plain.run({ ...packImages(pictures, slots) }, ["map", "scores"]);
    const channels = built[0].map.shape[3];
    const positions = ROWS * COLUMNS;

    for (const [i, attentions] of found.entries()) {
      for (const [k, { shown, predicted, values }] of attentions.entries()) {
        const visible = Array.from({ length: positions }, (_, at) => at).filter(
          (at) => tasks === "main" || Math.floor(at / COLUMNS / (ROWS / TINY.parts)) === k,
        );
        const score = scoreOf(weights, k, shown, tasks, visible);
        const a = Float64Array.from(map.subarray(i * positions * channels, (i + 1) * positions * channels));
        if (k === 1) {
          const own = scores.subarray(i * config.identities, (i + 1) * config.identities) as Float32Array;
          assert.ok(Math.abs(score(a, channels) - own[shown]) < 1e-4 * Math.max(1, Math.abs(own[shown])));
          assert.is(predicted, own.indexOf(Math.max(...own)));
        }
        if (classes[i] === null) assert.is(shown, predicted);
        const importance = new Float64Array(channels);
        for (let at = 0; at < a.length; at++) {
          const moved = (by: number) => score(a.with(at, a[at] + by), channels);
          importance[at % channels] += (moved(1e-5) - moved(-1e-5)) / 2e-5 / positions;
        }
        const expected = Array.from({ length: positions }, (_, at) =>
          Math.max(
            0,
            importance.reduce((sum, w, c) => sum + w * a[at * channels + c], 0),
          ),
        );
        const top = Math.max(...expected);
        const off = relativeError(
          values,
          expected.map((v) => (top > 0 ? v / top : 0)),
        );
        assert.ok(off < 1e-4, `image ${i}, part ${k + 1}: off by ${off}`);
      }
    }
    plain.destroy();
    cam.destroy();
  });
}

test.after(closeDevice);
test.run();
