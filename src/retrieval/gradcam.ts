/**
 * Grad-CAM of a network's classifiers (Sec. 5.2.5): where in a picture the evidence for a person lies. For classifier k,
 * its map A [h, w, C] and the score s of a class, M = ReLU(sum over c of a_c A_c), a_c the mean over positions of ds / dA_c.
 */
import type { RgbImage } from "../data/image.js";
import { maxPicturePixels, packImages } from "../data/image-batch.js";
import type { Device } from "../gpu/device.js";
import { fuse } from "../graph/passes.js";
import { Program, type Values } from "../graph/program.js";
import { input, type Tensor } from "../graph/tensor.js";
import type { ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import type { Classifier } from "../models/model.js";
import { Build } from "../nn/layers.js";
import type { ParameterStore } from "../nn/parameters.js";
import {
  add,
  globalAveragePool,
  gradients,
  IMAGE_TABLE_COLUMNS,
  max,
  mul,
  type PrepareImagesOptions,
  prepareImages,
  relu,
  reshape,
  sum,
} from "../ops/index.js";

/** What one classifier says of one picture, and where it looks. */
export interface Attention {
  /** The classifier: "part 1", "global". */
  readonly name: string;
  /** Size of the map, which covers the whole picture. */
  readonly rows: number;
  readonly columns: number;
  /** [rows * columns] from 0 to 1, the largest being 1; all 0 where nothing speaks for the class. */
  readonly values: Float32Array;
  /** The class whose evidence is shown, and its probability by the softmax over all classes. */
  readonly shown: number;
  readonly probability: number;
  /** The class of the highest score. */
  readonly predicted: number;
}

export class GradCam {
  private constructor(
    readonly program: Program,
    private readonly classifiers: readonly Classifier[],
    /** Images of a batch. */
    readonly batch: number,
  ) {}

  /** What the classifiers are called, in order. */
  get names(): string[] {
    return this.classifiers.map(({ name }) => name);
  }

  /**
   * @param store declared and loaded, or declared here and loaded before the first picture
   * @param interpolation how pictures are resized, as the extractor does it. Default: bilinear
   */
  static async create(
    device: Device,
    store: ParameterStore,
    config: ModelConfig,
    batch: number,
    interpolation?: PrepareImagesOptions["interpolation"],
  ): Promise<GradCam> {
    const [height, width] = config.imageSize;
    const bytes = input("bytes", [Math.ceil((batch * maxPicturePixels(config.imageSize) * 3) / 4)], "u32");
    const table = input("table", [batch, IMAGE_TABLE_COLUMNS], "i32");
    const images = prepareImages(bytes, table, height, width, { interpolation });
    const classifiers = modelOf(config).classifiers(new Build(store, false), config, images);
    const chosen: Choice = {
      predicted: input("predicted", [batch]),
      given: input("given", [batch, config.identities]),
    };
    const wanted = classifiers.flatMap((classifier) => [attentionMap(classifier, chosen), classifier.scores]);
    const outputs = fuse(wanted).map((t, i): [string, Tensor] => [`${i % 2 === 0 ? "map" : "scores"} ${i >> 1}`, t]);
    const program = await Program.compile(device, { outputs: Object.fromEntries(outputs), hoist: true, batch });
    return new GradCam(program, classifiers, batch);
  }

  /** Declares what the classifiers take, so that a store can be allocated and loaded. */
  static declare(store: ParameterStore, config: ModelConfig): void {
    const [height, width] = config.imageSize;
    modelOf(config).classifiers(new Build(store, false), config, input("images", [1, height, width, 3]));
  }

  /**
   * @param images at most `batch` pictures
   * @param classes for each picture the class whose evidence is sought, or null for the one that each classifier predicts
   * @returns for each picture what each classifier says
   */
  async ofImages(images: readonly RgbImage[], classes: readonly (number | null)[] = []): Promise<Attention[][]> {
    const { batch, classifiers } = this;
    if (images.length > batch) throw new Error(`${images.length} images do not fit a batch of ${batch}`);
    const identities = classifiers[0].scores.shape[1];
    const predicted = new Float32Array(batch).fill(1);
    const given = new Float32Array(batch * identities);
    classes.forEach((label, i) => {
      if (label === null) return;
      if (!(label >= 0 && label < identities)) throw new Error(`class ${label} of ${identities} classes`);
      predicted[i] = 0;
      given[i * identities + label] = 1;
    });
    // Slots without a picture show the first one; their maps are dropped.
    const slots = Array.from({ length: batch }, (_, i) => ({ image: i < images.length ? i : 0 }));
    const feeds = { ...packImages(images, slots), predicted, given };
    const names = classifiers.flatMap((_, k) => [`map ${k}`, `scores ${k}`]);
    const values: Record<string, Values> = await this.program.run(feeds, names);
    return images.map((_, i) =>
      classifiers.map(({ name, map }, k) => {
        const [, rows, columns] = map.shape;
        const scores = values[`scores ${k}`].subarray(i * identities, (i + 1) * identities) as Float32Array;
        const best = scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));
        const shown = classes[i] ?? best;
        return {
          name,
          rows,
          columns,
          values: normalized(values[`map ${k}`].slice(i * rows * columns, (i + 1) * rows * columns) as Float32Array),
          shown,
          probability: 1 / scores.reduce((total, s) => total + Math.exp(s - scores[shown]), 0),
          predicted: best,
        };
      }),
    );
  }

  destroy(): void {
    this.program.destroy();
  }
}

/** For each image the class whose score is differentiated: the highest one, or that of a one-hot row. */
interface Choice {
  /** [N]: 1 where the classifier's own prediction is meant, else 0. */
  readonly predicted: Tensor;
  /** [N, identities]: one-hot, or 0 where the prediction is meant. */
  readonly given: Tensor;
}

/**
 * The map before it is normalised, [N, h, w]. In evaluation mode no image looks at another one, so the gradient of the
 * batch's summed scores is each image's own.
 */
function attentionMap({ name, map, scores }: Classifier, { predicted, given }: Choice): Tensor {
  const score = add(sum(mul(max(scores, [1]), predicted)), sum(mul(scores, given)));
  const [gradient] = gradients(score, [map]);
  if (!gradient) throw new Error(`the scores of ${name} do not depend on its map`);
  const [n, , , channels] = map.shape;
  const weights = reshape(globalAveragePool(gradient), [n, 1, 1, channels]);
  return relu(sum(mul(map, weights), [3]));
}

/** Scaled in place, so that the largest value is 1. */
function normalized(values: Float32Array): Float32Array {
  const top = values.reduce((a, b) => Math.max(a, b), 0);
  return top > 0 ? values.map((v) => v / top) : values;
}
