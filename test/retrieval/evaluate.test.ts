import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Sample } from "#src/data/dataset.js";
import { datasetOf } from "#src/data/datasets/types.js";
import type { DecodePool } from "#src/data/decode-pool.js";
import type { Device } from "#src/gpu/device.js";
import { evaluateDataset } from "#src/retrieval/evaluate.js";
import type { Extractor } from "#src/retrieval/extractor.js";
import type { Extraction } from "#src/retrieval/pipeline.js";
import { userError } from "../data/helpers.js";

/** Images of people and cameras, which all look alike. */
const images = (...labels: [pid: number, camid: number][]): Sample[] =>
  labels.map(([pid, camid]) => ({ path: "", name: "", pid, camid }));

/** Sets too small for the GPU to be asked; counts the images represented. */
function evaluationOf(query: Sample[], gallery: Sample[]) {
  let represented = 0;
  const extractor = {
    dim: 1,
    ofSamples: async ({ length }: readonly Sample[]): Promise<Extraction> => {
      represented += length;
      const pace = { images: length, seconds: 1, gpuSeconds: 1, decoderSeconds: 1 };
      return {
        features: new Float32Array(length).fill(1),
        dim: 1,
        indices: Int32Array.from({ length }, (_, i) => i),
        pace,
      };
    },
  } as unknown as Extractor;
  const dataset = datasetOf({ name: "mine", root: "", layout: "market1501", query, gallery });
  const [device, pool] = [null as unknown as Device, null as unknown as DecodePool];
  const call = () => evaluateDataset(device, extractor, dataset, pool);
  return { call, represented: () => represented };
}

test("a query of the number that stands for nobody is skipped, as nobody is trained on under it", async () => {
  const { call } = evaluationOf(images([0, 1], [1, 1]), images([0, 2], [1, 2]));
  const { queries, skipped } = (await call()).result;
  assert.equal([queries, skipped], [1, 1]);
});

test("where nothing can be measured, nothing is represented", async () => {
  const { call, represented } = evaluationOf(images([1, 1]), images([1, 1]));
  assert.match((await userError(call)).message, "mine: no query has a right answer");
  assert.is(represented(), 0);
});

test.run();
