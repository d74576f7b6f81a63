/** The preset `small` end to end on synthetic people: training with its data loading, and extraction. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { loadDataset, type Sample, trainIdentities } from "#src/data/dataset.js";
import { DecodePool } from "#src/data/decode-pool.js";
import type { RgbImage } from "#src/data/image.js";
import { maxPicturePixels } from "#src/data/image-batch.js";
import { imageBatches } from "#src/data/loader.js";
import { loadPriors } from "#src/data/prior-cache.js";
import { writeSyntheticDataset } from "#src/data/synth/dataset.js";
import { featureSize } from "#src/models/config.js";
import { Extractor, extractionBatch } from "#src/retrieval/extractor.js";
import { modelConfigOf } from "#src/training/config.js";
import { loadConfig } from "#src/training/load-config.js";
import { Trainer } from "#src/training/trainer.js";
import type { Context } from "../options.js";
import type { SectionReport } from "../report.js";
import { temporaryFolder } from "../temporary.js";

const WARM_UP_STEPS = 3;

export async function small({
  set,
  smallSteps: steps,
  smallPictures: imagesPerCamera,
  open,
  say,
}: Context): Promise<SectionReport> {
  const folder = temporaryFolder("mpn-bench-small-");
  const device = await open();
  try {
    say("drawing synthetic people");
    const root = join(folder, "dataset");
    await writeSyntheticDataset(root, { trainPeople: 12, testPeople: 6, imagesPerCamera, distractors: 0, junk: 0 });
    const dataset = await loadDataset(root);
    const config = loadConfig({ preset: "small", set: [...set, "iterationsPerEpoch=100000"] });
    const batch = config.subjects * config.imagesPerSubject;
    const { pids, labels } = trainIdentities(dataset.train);
    const [rows, cols] = featureSize(config.imageSize);
    const { priors } = await loadPriors(
      dataset,
      { rows, cols, labels: config.labels },
      { parsing: config.parsing, segmentation: config.segmentation },
    );
    say(`training, ${steps} steps`);
    const trainer = await Trainer.create({
      device,
      config,
      samples: dataset.train,
      labels,
      pids,
      priors: [...priors],
      folder,
    });
    const seconds = async (work: () => Promise<unknown>) => {
      const started = performance.now();
      await work();
      return (performance.now() - started) / 1000;
    };
    const train = (count: number) => {
      const until = trainer.step + count;
      return trainer.run(() => trainer.step < until);
    };
    let trained: number;
    let extraction: Awaited<ReturnType<typeof extract>>;
    try {
      await train(WARM_UP_STEPS);
      trained = (steps * batch) / (await seconds(() => train(steps)));
      say("extracting");
      extraction = await extract(trainer, [...dataset.train, ...dataset.query, ...dataset.gallery]);
    } finally {
      await trainer.close();
    }
    const perSecond = (rate: number) => rate.toFixed(1);
    const { bound } = extraction;
    return {
      title: `small end to end, images of ${config.imageSize.join("x")}`,
      notes: [
        `Synthetic people, JPEG of 128x64. Training: ${steps} steps of ${batch} images after ${WARM_UP_STEPS}, decoding, augmentation and priors included. Extraction: ${extraction.images} images, each with its mirror image; by itself, the ${bound} is the slower part${device.profile.software ? "; together they share the same cores" : ""}.`,
      ],
      tables: [
        {
          rows: [
            ["", "images/s"],
            ["training", perSecond(trained)],
            ["extraction", perSecond(extraction.imagesPerSecond)],
            ["decoding alone", perSecond(extraction.decodedPerSecond)],
            ["network alone", perSecond(extraction.networkPerSecond)],
          ],
        },
      ],
      data: { batch, steps, size: config.imageSize, trainImagesPerSecond: trained, extraction },
    };

    async function extract({ store }: Trainer, samples: readonly Sample[]) {
      const model = modelConfigOf(config, 1);
      const size = extractionBatch(model, device.profile, config.flipTest);
      const extractor = await Extractor.create(device, store, model, { flip: config.flipTest, batch: size });
      const pool = new DecodePool({ maxPixels: maxPicturePixels(config.imageSize) });
      try {
        // As many as take a while: the same files again and again.
        const many = Array.from(
          { length: Math.max(samples.length, (steps * batch) / 2) },
          (_, i) => samples[i % samples.length],
        );
        let images: RgbImage[] = [];
        const decode = async () => {
          for await (const read of imageBatches({ samples: many, pool, batchSize: size }))
            if (read.images.length === size) images = [...read.images];
        };
        // Starts the workers, compiles and folds batch norm.
        await extractor.ofSamples(many.slice(0, 2 * size), pool);
        const together = await seconds(() => extractor.ofSamples(many, pool));
        const decoding = await seconds(decode);
        const batches = Math.ceil(many.length / size);
        const network = await seconds(async () => {
          for (let i = 0; i < batches; i++) await extractor.ofImages(images);
        });
        return {
          images: many.length,
          batch: size,
          imagesPerSecond: many.length / together,
          decodedPerSecond: many.length / decoding,
          networkPerSecond: (batches * size) / network,
          bound: decoding > network ? "decoder" : "network",
        };
      } finally {
        await pool.close();
        extractor.destroy();
      }
    }
  } finally {
    device.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
