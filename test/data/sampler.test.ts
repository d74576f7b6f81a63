import { test } from "uvu";
import * as assert from "uvu/assert";
import { PkSampler, type PkSamplerState } from "#src/data/sampler.js";
import { userError } from "./helpers.js";

/** Labels of a training set in which person i has sizes[i] images, mixed with images of nobody. */
function labelsOf(sizes: number[]): number[] {
  const labels = sizes.flatMap((size, label) => new Array<number>(size).fill(label));
  return labels.flatMap((label, i) => (i % 5 === 0 ? [-1, label] : [label]));
}

const chunks = (batch: number[], size: number) =>
  Array.from({ length: batch.length / size }, (_, i) => batch.slice(i * size, (i + 1) * size));

test("a batch holds S different people with A images each, side by side", () => {
  const labels = labelsOf([9, 3, 20, 8, 1, 16, 11]);
  const sampler = new PkSampler(labels, { subjects: 4, images: 8, seed: 1 });
  for (let n = 0; n < 50; n++) {
    assert.is(sampler.batches, n);
    const batch = sampler.next();
    assert.is(batch.length, 32);
    const people = chunks(batch, 8).map((images) => {
      const own = new Set(images.map((image) => labels[image]));
      assert.is(own.size, 1);
      const [label] = own;
      assert.ok(label >= 0);
      // Without replacement inside a batch wherever the person has enough images.
      if (labels.filter((other) => other === label).length >= 8) assert.is(new Set(images).size, 8);
      return label;
    });
    assert.is(new Set(people).size, 4);
  }
});

test("a person's images are used up before they come again", () => {
  const labels = labelsOf([20, 20]);
  const sampler = new PkSampler(labels, { subjects: 1, images: 6, seed: 3 });
  const seen: number[][][] = [[], []];
  for (let n = 0; n < 60; n++) {
    const images = sampler.next();
    seen[labels[images[0]]].push(images);
  }
  for (const draws of seen) {
    // 20 images give three draws of six; two stay behind, and all twenty are shuffled anew.
    for (let round = 0; round + 3 <= draws.length; round += 3)
      assert.is(new Set(draws.slice(round, round + 3).flat()).size, 18);
    assert.not.equal(draws.slice(0, 3), draws.slice(3, 6));
  }
});

test("people and images come up equally often", () => {
  const people = 12;
  const labels = labelsOf(new Array(people).fill(10));
  const sampler = new PkSampler(labels, { subjects: 3, images: 4, seed: 11 });
  const counts = new Map<number, number>();
  const batches = 4000;
  for (let n = 0; n < batches; n++) for (const image of sampler.next()) counts.set(image, (counts.get(image) ?? 0) + 1);
  const mean = (batches * 12) / (people * 10);
  assert.is(counts.size, people * 10);
  // The spread is below the binomial's, sqrt(mean) = 20.
  for (const [image, count] of counts) assert.ok(Math.abs(count - mean) < 100, `image ${image}: ${count}`);
});

test("few images are drawn with replacement, and all of them appear", () => {
  const labels = [0, 0, 0];
  const sampler = new PkSampler(labels, { subjects: 1, images: 8, seed: 5 });
  const counts = [0, 0, 0];
  for (let n = 0; n < 300; n++) for (const image of sampler.next()) counts[image]++;
  for (const count of counts) assert.ok(Math.abs(count - 800) < 120, String(counts));
});

test("the seed decides, and neighbouring seeds differ", () => {
  const labels = labelsOf([9, 3, 20, 8, 1, 16, 11]);
  const run = (seed: number) => {
    const sampler = new PkSampler(labels, { subjects: 3, images: 4, seed });
    return Array.from({ length: 5 }, () => sampler.next());
  };
  assert.equal(run(7), run(7));
  const firsts = Array.from({ length: 50 }, (_, seed) => JSON.stringify(run(seed)[0]));
  assert.is(new Set(firsts).size, 50);
});

test("a state saved at any batch goes on bit for bit", () => {
  const labels = labelsOf([9, 3, 20, 8, 1, 16, 11]);
  const whole = new PkSampler(labels, { subjects: 3, images: 8, seed: 2 });
  const states: string[] = [];
  const batches = Array.from({ length: 40 }, () => {
    states.push(JSON.stringify(whole.getState()));
    return whole.next();
  });
  for (const start of [0, 1, 17, 39]) {
    const resumed = PkSampler.fromState(labels, JSON.parse(states[start]) as PkSamplerState);
    assert.is(resumed.batches, start);
    assert.equal(
      Array.from({ length: 40 - start }, () => resumed.next()),
      batches.slice(start),
    );
  }
});

test("refuses too few people and the state of another training set", async () => {
  const { message } = await userError(() => new PkSampler([0, 0, 1], { subjects: 6, images: 8, seed: 0 }));
  assert.match(message, "6 people");
  assert.match(message, "has 2");
  const state = new PkSampler([0, 0, 1], { subjects: 2, images: 2, seed: 0 }).getState();
  for (const other of [
    [0, 1, 1],
    [0, 0, 1, 2],
    [0, 0, 1, 1],
  ]) {
    assert.match((await userError(() => PkSampler.fromState(other, state))).message, /another training set/);
  }
});

test("stand-ins are the person's images, the image itself first", () => {
  const sampler = new PkSampler([0, 1, 0, -1, 0, 1], { subjects: 2, images: 2, seed: 0 });
  assert.equal(sampler.standIns(2), [2, 4, 0]);
  assert.equal(sampler.standIns(1), [1, 5]);
});

test.run();
