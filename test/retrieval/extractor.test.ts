import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuse } from "#src/graph/passes.js";
import { input, reachable } from "#src/graph/tensor.js";
import { parseModelConfig } from "#src/models/config.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { extractionBatch } from "#src/retrieval/extractor.js";
import { paperProfile } from "../support/profile.js";

test("the default batch is the largest whose every map can be bound, whatever the size of the pictures", () => {
  const profile = { ...paperProfile({ software: false, subgroupSize: 32 }), maxBindingBytes: 2 ** 25 };
  for (const imageSize of [
    [384, 128],
    [300, 150],
    [256, 130],
    [101, 51],
  ] as const) {
    const config = parseModelConfig({ model: "ide", layers: [1, 1, 1, 1], imageSize: [...imageSize] });
    const widest = (images: number) => {
      const pictures = input("images", [images, ...imageSize, 3]);
      const features = modelOf(config).represent(new Build(new ParameterStore(), false), config, pictures);
      const maps = reachable(fuse([features])).flatMap(({ outputs }) => outputs);
      return Math.max(...maps.filter(({ shape }) => shape[0] === images).map(({ bytes }) => bytes));
    };
    for (const flip of [false, true]) {
      const batch = extractionBatch(config, profile, flip);
      const images = flip ? 2 * batch : batch;
      assert.ok(widest(images) <= profile.maxBindingBytes, `${imageSize}: a batch of ${batch}`);
      const more = flip ? images + 2 : images + 1;
      assert.ok(batch === 32 || widest(more) > profile.maxBindingBytes, `${imageSize}: more than ${batch} would fit`);
    }
  }
});

test.run();
