/**
 * What training, extraction, visualisation and benchmarks ask of a model; `models/index.ts` finds it by the
 * configuration's `model`.
 */
import type { Tensor } from "../graph/tensor.js";
import type { Build } from "../nn/layers.js";
import type { ModelConfig } from "./config.js";

/** What a training batch brings: images are normalised, the prior is that of Sec. 3.2. What a model ignores is not fed. */
export interface TrainingBatch {
  /** [N, H, W, 3] */
  readonly images: Tensor;
  /** [N, h, w] of 0 and 1, for prior "mask". */
  readonly mask: Tensor;
  /** [N, 4] f32: top, left, bottom, right of the region of interest in cells of F, ends exclusive. */
  readonly roi: Tensor;
  /** [N] i32, identities from 0. */
  readonly labels: Tensor;
  /** [N * classifiersPerImage] i32: each label once for every classifier that judges the image in one go. */
  readonly partLabels: Tensor;
  /** [1] u32, another one for every step. */
  readonly dropoutSeed: Tensor;
}

/** Losses by the name under which they are logged, each [1]; what a model or variant does not have is absent. */
export interface Losses extends Readonly<Record<string, Tensor>> {
  readonly id: Tensor;
  /** What is minimised. */
  readonly total: Tensor;
}

export interface TrainingOutputs {
  readonly losses: Losses;
  /** Representations of the batch by name, [N, dim]; "main" and "aux" for MPN's h and g. */
  readonly features: Readonly<Record<string, Tensor>>;
}

/** A classifier that judges an image, and the map that its Grad-CAM is drawn on (Sec. 5.2.5). */
export interface Classifier {
  /** What a picture of it is titled: "part 1", "global". */
  readonly name: string;
  /** [N, h, w, C]: the convolutional map that it looks at. */
  readonly map: Tensor;
  /** [N, identities], before the softmax. */
  readonly scores: Tensor;
}

export interface ReidModel {
  /** What tables and reports call it. */
  readonly title: string;
  /** How often `TrainingBatch.partLabels` repeats each label. */
  classifiersPerImage(c: ModelConfig): number;
  /** Whether training looks at the coarse prior of Sec. 3.2. */
  usesPrior(c: ModelConfig): boolean;
  /** The representation of an image at test time, [N, dim]; not normalised. */
  represent(b: Build, c: ModelConfig, images: Tensor): Tensor;
  /** Training forward pass and losses. */
  losses(b: Build, c: ModelConfig, batch: TrainingBatch): TrainingOutputs;
  /** The classifiers that judge an image by the test-time network (MPN: the MTs', for the Baseline the ATs'). */
  classifiers(b: Build, c: ModelConfig, images: Tensor): Classifier[];
  /** The layer of a plain backbone whose weights this one starts from (`--init`), where its name is not the same. */
  initialName?(name: string): string;
}
