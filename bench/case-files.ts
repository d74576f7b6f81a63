/** What all systems read: one checkpoint that this engine writes, its ONNX export, and the same images. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { workload } from "#src/cli/bench/model.js";
import { onnxModel } from "#src/export/onnx.js";
import { writeOnnx } from "#src/formats/onnx.js";
import { writeSafetensors } from "#src/formats/safetensors.js";
import type { Device } from "#src/gpu/device.js";
import type { Values } from "#src/graph/program.js";
import { featureSize, type ModelConfig } from "#src/models/config.js";
import { type NamedArray, ParameterStore } from "#src/nn/parameters.js";
import { seededRng, uniform } from "#src/random.js";
import { readCheckpoint, writeCheckpoint } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import { loadConfig } from "#src/training/load-config.js";
import { temporaryFolder } from "./temporary.js";

/** People of Market-1501's training set. */
export const IDENTITIES = 751;

export class CaseFiles {
  private readonly folder = temporaryFolder("mpn-bench-");
  readonly weights = join(this.folder, "weights.safetensors");
  readonly model = join(this.folder, "model.onnx");

  private constructor(private readonly config: ModelConfig) {}

  /**
   * MPN without channel attention at the paper's settings.
   * @param settings over these, as `key=value`
   */
  static async create(device: Device, settings: readonly string[], identities = IDENTITIES): Promise<CaseFiles> {
    const config = loadConfig({ preset: "paper", set: ["channelAttention=false", ...settings] });
    const files = new CaseFiles(modelConfigOf(config, identities));
    const store = new ParameterStore();
    workload(store, { config: files.config, mode: "train", batch: 2 });
    try {
      store.allocate(device, 0);
      store.load(device, withStatistics(await store.read(device)), "the values drawn");
      const pids = Array.from({ length: identities }, (_, i) => i);
      await writeCheckpoint(files.weights, device, store, { config, pids, step: 0, sampler: null }, false);
      const { weights } = await readCheckpoint(files.weights);
      await writeOnnx(files.model, onnxModel(files.config, weights));
      return files;
    } catch (error) {
      files.remove();
      throw error;
    } finally {
      store.destroy(device);
    }
  }

  /** A file of images [N, 3, H, W], and of what a whole training step takes beside them. */
  async inputs(batch: number): Promise<string> {
    const path = join(this.folder, `inputs-${batch}.safetensors`);
    const values: Record<string, Values> = workload(new ParameterStore(), {
      config: this.config,
      mode: "train",
      batch,
    }).values();
    const { imageSize } = this.config;
    const shape = [batch, 3, ...imageSize];
    const rng = seededRng(1);
    const images = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => uniform(rng, -2, 2));
    await writeSafetensors(
      path,
      [
        ["images", { dtype: "F32", shape, data: images }],
        ["mask", { dtype: "F32", shape: [batch, ...featureSize(imageSize)], data: values.mask as Float32Array }],
        ["roi", { dtype: "F32", shape: [batch, 4], data: values.roi as Float32Array }],
        ["labels", { dtype: "I32", shape: [batch], data: values.labels as Int32Array }],
      ],
      {},
    );
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Batch norm as training leaves it: scales near 1 (small for the last one of a residual block), and statistics that matter. */
function withStatistics(values: ReadonlyMap<string, NamedArray>): Map<string, NamedArray> {
  const rng = seededRng(2);
  const ranges: Record<string, readonly [number, number]> = {
    weight: [0.8, 1.2],
    bias: [-0.1, 0.1],
    running_mean: [-0.1, 0.1],
    running_var: [1.5, 2.5],
  };
  return new Map(
    [...values].map(([name, array]) => {
      const [, layer, kind] = /^(.*)\.(\w+)$/.exec(name)!;
      if (!values.has(`${layer}.running_var`)) return [name, array];
      const [least, most] = kind === "weight" && layer.endsWith(".bn3") ? [0.2, 0.4] : ranges[kind];
      return [name, { ...array, data: array.data.map(() => uniform(rng, least, most)) }];
    }),
  );
}
