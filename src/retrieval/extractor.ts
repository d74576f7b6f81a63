/** Representations of images (eq. 2): the network in evaluation mode, batch norm folded, flipped copies averaged. */
import type { Sample } from "../data/dataset.js";
import type { RgbImage } from "../data/image.js";
import { maxPicturePixels, packImages } from "../data/image-batch.js";
import type { Decoder, OnUnreadable } from "../data/loader.js";
import type { Device, DeviceProfile } from "../gpu/device.js";
import { fuse } from "../graph/passes.js";
import { Program } from "../graph/program.js";
import type { Precision } from "../graph/storage.js";
import { input } from "../graph/tensor.js";
import type { ModelConfig } from "../models/config.js";
import { modelOf } from "../models/index.js";
import { Build } from "../nn/layers.js";
import type { ParameterStore } from "../nn/parameters.js";
import { addScaled, IMAGE_TABLE_COLUMNS, type PrepareImagesOptions, prepareImages, slice } from "../ops/index.js";
import { type Extraction, type Network, representSamples } from "./pipeline.js";

export interface ExtractorOptions {
  /** Average the features of an image with those of its mirror image. */
  readonly flip: boolean;
  /** How images are resized; "bilinear" by default. */
  readonly interpolation?: PrepareImagesOptions["interpolation"];
  /** Images of a batch. */
  readonly batch: number;
  /** How feature maps are stored; "float32" by default. */
  readonly precision?: Precision;
}

/** The largest batch up to 32 whose widest feature map the adapter can bind. */
export function extractionBatch(config: ModelConfig, profile: DeviceProfile, flip: boolean): number {
  const [height, width] = config.imageSize;
  /** Pixels of a map, whose sides are halved again and again, each time rounded up. */
  const pixels = (reduction: number) => Math.ceil(height / reduction) * Math.ceil(width / reduction);
  // The largest are the stem's output, with `width` channels, and the first stage's, with four times as many.
  const bytes = 4 * config.width * Math.max(pixels(2), 4 * pixels(4)) * (flip ? 2 : 1);
  return Math.max(1, Math.min(32, Math.floor(profile.maxBindingBytes / bytes)));
}

export class Extractor implements Network {
  private constructor(
    readonly program: Program,
    readonly dim: number,
    private readonly options: ExtractorOptions,
  ) {}

  /** Images of a batch. */
  get batch(): number {
    return this.options.batch;
  }

  /** @param store declared and loaded, or declared here and loaded before the first extraction */
  static async create(
    device: Device,
    store: ParameterStore,
    config: ModelConfig,
    options: ExtractorOptions,
  ): Promise<Extractor> {
    const [height, width] = config.imageSize;
    const { flip, batch, interpolation, precision } = options;
    const slots = flip ? 2 * batch : batch;
    const bytes = input("bytes", [Math.ceil((batch * maxPicturePixels(config.imageSize) * 3) / 4)], "u32");
    const table = input("table", [slots, IMAGE_TABLE_COLUMNS], "i32");
    const images = prepareImages(bytes, table, height, width, { interpolation });
    const rows = modelOf(config).represent(new Build(store, false), config, images);
    const averaged = flip ? addScaled(slice(rows, 0, 0, batch), slice(rows, 0, batch, slots), 0.5, 0.5) : rows;
    const [features] = fuse([averaged]);
    const program = await Program.compile(device, { outputs: { features }, hoist: true, precision, batch });
    return new Extractor(program, features.shape[1], options);
  }

  /** Declares the parameters of the network in evaluation mode, so that a store can be allocated and loaded. */
  static declare(store: ParameterStore, config: ModelConfig): void {
    const [height, width] = config.imageSize;
    modelOf(config).represent(new Build(store, false), config, input("images", [1, height, width, 3]));
  }

  /** The weights changed: folded statistics are computed again. */
  refresh(): void {
    this.program.refresh();
  }

  /**
   * @returns features [images, dim], not normalised
   */
  async ofImages(images: readonly RgbImage[]): Promise<Float32Array> {
    const { flip, batch } = this.options;
    if (images.length > batch) throw new Error(`${images.length} images do not fit a batch of ${batch}`);
    // Slots without a picture show the first one; their rows are dropped.
    const once = Array.from({ length: batch }, (_, i) => ({ image: i < images.length ? i : 0 }));
    const mirrored = flip ? once.map((slot) => ({ ...slot, augmentation: { flip: true } })) : [];
    const { bytes, table } = packImages(images, [...once, ...mirrored]);
    const { features } = await this.program.run({ bytes, table }, ["features"]);
    return (features as Float32Array).subarray(0, images.length * this.dim);
  }

  /**
   * Reads and represents a list of images, decoding ahead of the GPU (pipeline.ts).
   * @throws ImageError on an image that cannot be read, unless `onUnreadable` is given: then it is left out
   */
  ofSamples(
    samples: readonly Sample[],
    pool: Decoder,
    onProgress?: (done: number, total: number) => void,
    onUnreadable?: OnUnreadable,
  ): Promise<Extraction> {
    return representSamples(samples, pool, this, onProgress, onUnreadable);
  }

  destroy(): void {
    this.program.destroy();
  }
}
