/** A network with its classifiers over a list of pictures. */
import type { Sample } from "../../data/dataset.js";
import { DecodePool } from "../../data/decode-pool.js";
import { maxPicturePixels } from "../../data/image-batch.js";
import { imageBatches, type OnUnreadable } from "../../data/loader.js";
import type { DetectorErrors } from "../../data/perturb.js";
import { UserError } from "../../errors.js";
import type { Device } from "../../gpu/device.js";
import type { ModelConfig } from "../../models/config.js";
import { ParameterStore } from "../../nn/parameters.js";
import { extractionBatch } from "../../retrieval/extractor.js";
import { type Attention, GradCam } from "../../retrieval/gradcam.js";
import { type Checkpoint, CLASSIFIER, readCheckpoint, restore } from "../../training/checkpoint.js";
import { modelConfigOf } from "../../training/config.js";
import { CHECKPOINT_FILE } from "../../training/trainer.js";
import type { ClassChoice } from "../explain.js";

/** Gradients for every classifier take a few times the memory of an extraction. */
const LARGEST_BATCH = 8;

export interface ExplainedNetwork {
  readonly label: string;
  readonly path: string;
  readonly config: ModelConfig;
  /** Person of each class. */
  readonly pids: readonly number[];
  readonly classifiers: readonly string[];
  /** What each classifier says of the pictures that could be read. */
  readonly pictures: ReadonlyMap<Sample, readonly Attention[]>;
}

export interface ExplainedOptions {
  /** Detector errors to add to the pictures. */
  readonly perturb?: DetectorErrors;
  readonly onProgress: (done: number, total: number) => void;
  readonly onUnreadable: OnUnreadable;
}

/** Reads a checkpoint that has classifiers and knows the person asked for. */
export async function openNetwork(path: string, choice: ClassChoice): Promise<Checkpoint> {
  const checkpoint = await readCheckpoint(path);
  if (![...checkpoint.weights.keys()].some((name) => CLASSIFIER.test(name))) {
    throw new UserError(
      `${path} holds weights without classifiers, whose evidence Grad-CAM shows: mpn convert leaves them out, and the ` +
        `weights that ship have none. Name the ${CHECKPOINT_FILE} that mpn train wrote.`,
    );
  }
  const { pids } = checkpoint;
  if (typeof choice === "number" && !pids.includes(choice)) {
    const some = pids.slice(0, 8).join(", ");
    throw new UserError(
      `--class ${choice}: ${path} was not trained on that person; it knows ${pids.length}: ${some}${pids.length > 8 ? ", ..." : ""}.`,
      { exitCode: 2 },
    );
  }
  return checkpoint;
}

/** Runs a network over pictures. It has the device's memory to itself meanwhile. */
export async function explainedBy(
  device: Device,
  checkpoint: Checkpoint,
  label: string,
  samples: readonly Sample[],
  choice: ClassChoice,
  { perturb, onProgress, onUnreadable }: ExplainedOptions,
): Promise<ExplainedNetwork> {
  const { path, pids } = checkpoint;
  const config = modelConfigOf(checkpoint.config, pids.length);
  const classOf = ({ pid }: Sample): number | null => {
    const label = choice === "predicted" ? -1 : pids.indexOf(choice === "true" ? pid : choice);
    return label < 0 ? null : label;
  };
  const store = new ParameterStore();
  GradCam.declare(store, config);
  store.allocate(device, null);
  restore(device, store, checkpoint);
  const batch = Math.min(extractionBatch(config, device.profile, false), LARGEST_BATCH, samples.length);
  const cam = await GradCam.create(device, store, config, batch, checkpoint.config.testInterpolation);
  const pool = new DecodePool({ maxPixels: maxPicturePixels(config.imageSize), perturb });
  const pictures = new Map<Sample, readonly Attention[]>();
  try {
    for await (const { indices, images } of imageBatches({ samples, pool, batchSize: batch, onUnreadable })) {
      const found = await cam.ofImages(
        images,
        indices.map((i) => classOf(samples[i])),
      );
      for (const [at, i] of indices.entries()) pictures.set(samples[i], found[at]);
      onProgress(indices[indices.length - 1] + 1, samples.length);
    }
  } finally {
    await pool.close();
    cam.destroy();
    store.destroy(device);
  }
  return { label, path, config, pids, classifiers: cam.names, pictures };
}
