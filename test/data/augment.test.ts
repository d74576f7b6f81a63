import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Augmentation, augmentBatch, DEFAULT_AUGMENTATION, drawAugmentation } from "#src/data/augment.js";
import { seededRng } from "#src/random.js";

const SIZE = { height: 384, width: 128 };
const N = 20_000;

function drawMany(options = DEFAULT_AUGMENTATION, size = SIZE): Augmentation[] {
  return Array.from({ length: N }, (_, i) => drawAugmentation(seededRng(1, i), options, size));
}

function closeTo(value: number, expected: number, tolerance: number) {
  assert.ok(Math.abs(value - expected) < tolerance, `${value}, expected ${expected} +- ${tolerance}`);
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test("flip, translation and erasing have the paper's probabilities", () => {
  const plans = drawMany();
  closeTo(mean(plans.map(({ flip }) => Number(flip))), 0.5, 0.015);
  closeTo(mean(plans.map(({ erase }) => Number(erase !== null))), 0.5, 0.015);
  // One of five variants is the original; a shift may happen to be none.
  const still = 1 / 5 + (4 / 5) * (1 / (2 * 19 + 1)) * (1 / (2 * 6 + 1));
  closeTo(mean(plans.map(({ shiftX, shiftY }) => Number(shiftX === 0 && shiftY === 0))), still, 0.012);
});

test("shifts are whole pixels, uniform within 5 % of each side", () => {
  const plans = drawMany();
  const vertical = plans.map(({ shiftY }) => shiftY);
  const horizontal = plans.map(({ shiftX }) => shiftX);
  assert.equal([Math.min(...vertical), Math.max(...vertical)], [-19, 19]);
  assert.equal([Math.min(...horizontal), Math.max(...horizontal)], [-6, 6]);
  assert.ok([...vertical, ...horizontal].every(Number.isInteger));
  for (let shift = 1; shift <= 6; shift++) {
    for (const signed of [-shift, shift])
      closeTo(mean(horizontal.map((x) => Number(x === signed))), (4 / 5) * (1 / 13), 0.008);
  }
});

test("erased rectangles lie inside and keep to area and aspect", () => {
  const rectangles = drawMany().flatMap(({ erase }) => erase ?? []);
  for (const { top, left, height, width } of rectangles) {
    assert.ok(top >= 0 && left >= 0 && top + height <= SIZE.height && left + width <= SIZE.width);
    // Both sides are rounded, by up to half a pixel.
    const share = (h: number, w: number) => (h * w) / (SIZE.height * SIZE.width);
    assert.ok(share(height + 0.5, width + 0.5) >= 0.02 && share(height - 0.5, width - 0.5) <= 0.4);
    assert.ok((height + 0.5) / (width - 0.5) >= 0.3 && (height - 0.5) / (width + 0.5) <= 3.33);
  }
  assert.ok(Math.max(...rectangles.map(({ height }) => height)) > 200);
});

test("zeros turn everything off, ones turn it on", () => {
  const { erase, translation } = DEFAULT_AUGMENTATION;
  const off = { flip: 0, translation: { ...translation, variants: 1 }, erase: { ...erase, probability: 0 } };
  const still = { flip: false, shiftX: 0, shiftY: 0, erase: null };
  for (const plan of drawMany(off)) assert.equal(plan, still);
  for (const plan of drawMany({ ...off, translation: { variants: 5, range: 0 } })) assert.equal(plan, still);
  const on = drawMany({ ...off, flip: 1, erase: { ...erase, probability: 1 } });
  assert.ok(on.every((plan) => plan.flip && plan.erase));
});

test("erasing gives up where nothing fits", () => {
  const erase = { probability: 1, area: [0.9, 1] as [number, number], aspect: [9, 10] as [number, number], tries: 20 };
  for (const plan of drawMany({ ...DEFAULT_AUGMENTATION, erase })) assert.is(plan.erase, null);
  for (const plan of drawMany(DEFAULT_AUGMENTATION, { height: 1, width: 1 })) assert.is(plan.erase, null);
});

test("a batch's plans follow from seed and number alone", () => {
  const plans = (seed: number, batch: number) => augmentBatch(seed, batch, 48, DEFAULT_AUGMENTATION, SIZE);
  assert.equal(plans(3, 10), plans(3, 10));
  assert.not.equal(plans(3, 10), plans(3, 11));
  assert.not.equal(plans(3, 10), plans(4, 10));
  assert.is(plans(3, 10).length, 48);
  assert.ok(new Set(plans(3, 10).map((plan) => JSON.stringify(plan))).size > 40);
});

test.run();
