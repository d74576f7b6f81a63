/** Fixtures of kind "mpn": one model, one batch, a few steps, against the reference's answers (relative L2 a group). */
import { UserError } from "../errors.js";
import type { SafetensorsFile } from "../formats/safetensors.js";
import type { Device } from "../gpu/device.js";
import { fuse } from "../graph/passes.js";
import { Program } from "../graph/program.js";
import type { Precision } from "../graph/storage.js";
import { input, type Tensor } from "../graph/tensor.js";
import { type ModelConfig, parseModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import { featureMap } from "../models/mpn.js";
import { Build } from "../nn/layers.js";
import { type NamedArray, ParameterStore } from "../nn/parameters.js";
import { halves, lossScalingOf } from "./loss-scale.js";
import { partLabels, type TrainingStep, trainingStep } from "./step.js";

/** Largest relative error of each group that counts as a match (FIXTURES.md). */
export const MODEL_BOUNDS: Readonly<Record<string, number>> = {
  features: 1e-4,
  map: 1e-4,
  main: 1e-4,
  aux: 1e-4,
  losses: 1e-4,
  running: 1e-4,
  gradients: 1e-3,
  update: 2e-3,
};

/**
 * The same where maps are stored in float16, or operands rounded to it by matrix units: from two to six
 * times the worst of the public fixtures on lavapipe, features 3.4e-3 and map 3.8e-3 (MPN*; the others at most 1.2e-3), main 1.2e-2, aux 1.5e-2, losses 1.1e-3, running 9e-4, gradients 0.36, update 1.6e-5;
 * by the units of lavapipe in Mesa 26.1, the only ones that they have run on, features 2.0e-3, main 3.4e-3, gradients 0.21. Storing a map
 * rounds each value by up to 2^-11; what batch norm over a few pooled vectors makes of that is ten times as much. Gradients
 * are another matter: where a value next to a tie or to 0 changes sides, its gradient goes elsewhere. The reference itself,
 * in float64 but for the rounding of its maps, is then off by 0.13 to 0.35. Such differences lie across the true gradient: along
 * it, which is `scale`, all are together off by 0.12 at most, so that a wrong factor shows. Over further steps such differences grow, so
 * losses are compared at the first step alone, and `update` is not the fixture's but what SGD makes, in float64, of the step's
 * own gradients.
 */
export const HALF_BOUNDS: Readonly<Record<string, number>> = {
  features: 1e-2,
  map: 1e-2,
  main: 5e-2,
  aux: 5e-2,
  losses: 5e-3,
  running: 5e-3,
  gradients: 0.6,
  scale: 0.25,
  update: 1e-4,
};

/** Small enough that no fixture's gradients overflow: a few images of a network of width 4 have large ones. */
const FIXTURE_SCALE = 64;

interface Optimizer {
  readonly lr: number;
  readonly momentum: number;
  readonly decay: number;
  readonly nesterov: boolean;
}

/** Sums of squares of differences and of expected values, over everything in a group. */
class GroupError {
  private difference = 0;
  private expected = 0;
  private product = 0;

  add(expected: ArrayLike<number>, actual: ArrayLike<number>): void {
    if (expected.length !== actual.length)
      throw new Error(`${expected.length} values expected, ${actual.length} computed`);
    for (let i = 0; i < expected.length; i++) {
      this.difference += (expected[i] - actual[i]) ** 2;
      this.expected += expected[i] ** 2;
      this.product += expected[i] * actual[i];
    }
  }

  /** How far the part along the expected values is from them: what rounding adds lies across, a wrong factor does not. */
  get along(): number {
    return Math.abs(this.product / Math.max(this.expected, 1e-30) - 1);
  }

  /** Relative L2 error; NaN results are infinitely wrong. */
  get value(): number {
    const relative = Math.sqrt(this.difference / Math.max(this.expected, 1e-30));
    return Number.isNaN(relative) ? Number.POSITIVE_INFINITY : relative;
  }
}

class Fixture {
  readonly config: ModelConfig;
  readonly optimizer: Optimizer;
  readonly steps: number;
  readonly weights = new Map<string, NamedArray>();

  constructor(
    private readonly file: SafetensorsFile,
    private readonly path: string,
  ) {
    this.config = parseModelConfig(JSON.parse(this.text("config")), path);
    this.optimizer = JSON.parse(this.text("optimizer")) as Optimizer;
    this.steps = Number(this.text("steps"));
    for (const [name, tensor] of file.tensors) {
      if (name.startsWith("weight.")) this.weights.set(name.slice(7), { shape: tensor.shape, data: this.floats(name) });
    }
  }

  private text(key: string): string {
    const value = this.file.metadata[key];
    if (value === undefined)
      throw new UserError(`${this.path}: the metadata has no ${key}; is it a fixture of kind mpn?`);
    return value;
  }

  has(name: string): boolean {
    return this.file.tensors.has(name);
  }

  tensor(name: string) {
    const tensor = this.file.tensors.get(name);
    if (!tensor) throw new UserError(`${this.path}: the tensor ${name} is missing; the fixture cannot be checked.`);
    return tensor;
  }

  floats(name: string): Float32Array {
    return Float32Array.from(this.tensor(name).data as Float32Array);
  }

  /** Images [N, 3, H, W] as the engine takes them, [N, H, W, 3]. */
  images(): { shape: [number, number, number, number]; data: Float32Array } {
    const { shape } = this.tensor("input.images");
    const [n, channels, h, w] = shape;
    const source = this.floats("input.images");
    const data = new Float32Array(source.length);
    for (let i = 0; i < data.length; i++) {
      const [x, y, c, image] = [
        i % w,
        Math.floor(i / w) % h,
        Math.floor(i / (w * h)) % channels,
        Math.floor(i / (w * h * channels)),
      ];
      data[((image * h + y) * w + x) * channels + c] = source[i];
    }
    return { shape: [n, h, w, channels], data };
  }

  feeds(images: Float32Array): Record<string, Float32Array | Int32Array> {
    const labels = Int32Array.from(this.tensor("input.labels").data as Int32Array);
    const [, , columns] = this.tensor("input.mask").shape;
    const rows = this.tensor("input.roi").data as Int32Array;
    const roi = Float32Array.from(
      { length: labels.length * 4 },
      (_, i) => [rows[(i >> 2) * 2], 0, rows[(i >> 2) * 2 + 1], columns][i & 3],
    );
    const { lr, momentum, decay, nesterov } = this.optimizer;
    return {
      images,
      mask: this.floats("input.mask"),
      roi,
      labels,
      partLabels: partLabels(labels, this.config),
      hyper: Float32Array.of(lr, momentum, decay, Number(nesterov)),
    };
  }
}

export interface VerifyOptions {
  /** Where gradients are rounded (see `halves`), they are those of a scaled loss, as in training. */
  readonly precision?: Precision;
  /** Compares what HALF_BOUNDS are for instead of what MODEL_BOUNDS are for; by default where anything is rounded to float16. */
  readonly rounded?: boolean;
}

/**
 * @returns relative error by group; groups that the fixture does not ask for are absent
 */
export async function verifyModel(
  device: Device,
  file: SafetensorsFile,
  path: string,
  { precision = "float32", rounded = halves(device.profile, precision) }: VerifyOptions = {},
): Promise<Record<string, number>> {
  const fixture = new Fixture(file, path);
  const { shape, data } = fixture.images();
  const images = input("images", shape);
  const store = new ParameterStore();
  const lossScaling = lossScalingOf(FIXTURE_SCALE, halves(device.profile, precision));
  const step = trainingStep(store, fixture.config, images, { lossScaling });
  store.allocate(device, 0);
  step.lossScale?.memory.allocate(device);
  try {
    const { missing, unknown } = store.load(device, fixture.weights, path);
    if (missing.length + unknown.length > 0) {
      throw new UserError(
        `${path}: weights do not fit the model: ${missing.length} missing (${missing[0] ?? "-"}), ${unknown.length} unknown (${unknown[0] ?? "-"}).`,
      );
    }
    const evaluation = await verifyEvaluation(device, store, fixture, images, data, precision);
    const training = await verifyTraining(device, store, fixture, step, data, { precision, rounded });
    return { ...evaluation, ...training };
  } finally {
    step.lossScale?.memory.destroy(device);
    store.destroy(device);
  }
}

async function verifyEvaluation(
  device: Device,
  store: ParameterStore,
  fixture: Fixture,
  images: Tensor,
  data: Float32Array,
  precision: Precision,
) {
  const build = new Build(store, false);
  const [features, map] = fuse([
    modelOf(fixture.config).represent(build, fixture.config, images),
    featureMap(build, fixture.config, images),
  ]);
  const program = await Program.compile(device, { outputs: { features, map }, hoist: true, precision });
  const values = await program.run({ images: data }, ["features", "map"]);
  program.destroy();
  const errors = { features: new GroupError(), map: new GroupError() };
  errors.features.add(fixture.floats("expect.eval.features"), values.features);
  errors.map.add(fixture.floats("expect.eval.map"), toNchw(values.map, map.shape));
  return { features: errors.features.value, map: errors.map.value };
}

async function verifyTraining(
  device: Device,
  store: ParameterStore,
  fixture: Fixture,
  step: TrainingStep,
  data: Float32Array,
  { precision, rounded }: Required<VerifyOptions>,
) {
  const errors = new Map<string, GroupError>();
  const group = (name: string) => {
    let error = errors.get(name);
    if (!error) errors.set(name, (error = new GroupError()));
    return error;
  };
  const { losses } = step;
  const gradients = Object.fromEntries(step.gradients.map((g, i) => [`gradient ${i}`, g]));
  const outputs = { ...losses, ...step.features, ...gradients };
  const program = await Program.compile(device, { outputs, updates: step.updates, precision });
  const feeds = Object.fromEntries(Object.entries(fixture.feeds(data)).filter(([name]) => program.takes(name)));
  try {
    for (let i = 0; i < (rounded ? 1 : fixture.steps); i++) {
      const values = await program.run(feeds, i === 0 ? Object.keys(outputs) : Object.keys(losses));
      for (const name of ["id", "triplet", "alignment", "softShare", "total"]) {
        group("losses").add(fixture.floats(`expect.step${i}.loss.${name}`), values[name] ?? [0]);
      }
      if (i > 0) continue;
      for (const task of ["main", "aux"] as const) {
        // The Baseline's h comes from its ATs; the fixture calls it main all the same.
        const computed = values[task] ?? (task === "main" ? values.aux : undefined);
        if (fixture.has(`expect.train.${task}`) && computed)
          group(task).add(fixture.floats(`expect.train.${task}`), computed);
      }
      const after = await store.read(device);
      const scale = step.lossScale?.memory.scaling.initial ?? 1;
      for (const [name, gradient] of store.toDisk(
        step.gradients.map((_, k) => (values[`gradient ${k}`] as Float32Array).map((v) => v / scale)),
      )) {
        if (fixture.has(`expect.grad.${name}`)) group("gradients").add(fixture.floats(`expect.grad.${name}`), gradient);
        if (rounded)
          group("update").add(firstMove(fixture, name, gradient), moved(fixture, name, after.get(name)!.data));
      }
      for (const [name, { data: running }] of after) {
        if (fixture.has(`expect.running.${name}`))
          group("running").add(fixture.floats(`expect.running.${name}`), running);
      }
    }
    if (fixture.steps > 1 && !rounded) {
      for (const [name, { data: after }] of await store.read(device)) {
        if (!fixture.has(`expect.after.${name}`)) continue;
        group("update").add(moved(fixture, name, fixture.floats(`expect.after.${name}`)), moved(fixture, name, after));
      }
    }
  } finally {
    program.destroy();
  }
  const result = Object.fromEntries([...errors].map(([name, error]) => [name, error.value]));
  return rounded ? { ...result, scale: group("gradients").along } : result;
}

/** How far a parameter is from where it started. */
function moved(fixture: Fixture, name: string, to: Float32Array): Float32Array {
  const { data } = fixture.weights.get(name)!;
  return to.map((v, i) => v - data[i]);
}

/** What the first step of SGD makes of a gradient, the momenta being 0. */
function firstMove(fixture: Fixture, name: string, gradient: Float32Array): Float64Array {
  const { lr, decay, momentum, nesterov } = fixture.optimizer;
  const { data } = fixture.weights.get(name)!;
  return Float64Array.from(gradient, (g, i) => -lr * (1 + (nesterov ? momentum : 0)) * (g + decay * data[i]));
}

function toNchw(values: ArrayLike<number>, [n, h, w, c]: readonly number[]): Float32Array {
  return Float32Array.from({ length: n * h * w * c }, (_, i) => {
    const [x, y, channel, image] = [
      i % w,
      Math.floor(i / w) % h,
      Math.floor(i / (w * h)) % c,
      Math.floor(i / (w * h * c)),
    ];
    return values[((image * h + y) * w + x) * c + channel];
  });
}
