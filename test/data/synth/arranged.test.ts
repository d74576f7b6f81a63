import { test } from "uvu";
import * as assert from "uvu/assert";
import { ARRANGED_PEOPLE, arrangedPerson } from "#src/data/synth/arranged.js";
import { createCamera } from "#src/data/synth/camera.js";
import { LIP } from "#src/data/synth/labels.js";
import { resolveOptions } from "#src/data/synth/options.js";
import { takePicture } from "#src/data/synth/render.js";
import { createScene } from "#src/data/synth/scene.js";

const colorsOf = (seed: number, index: number) => {
  const { hat, upper, lower, shoes } = arrangedPerson(seed, index);
  return [hat!.color, upper.fabric.color, lower.fabric.color, shoes.color].map(String);
};

test("people wear four of six colours, each on another part, and no two in the same order", () => {
  const seen = new Map<string, number>();
  const worn = new Set<string>();
  for (let index = 0; index < ARRANGED_PEOPLE; index++) {
    const colors = colorsOf(3, index);
    assert.is(new Set(colors).size, 4);
    for (const color of colors) worn.add(color);
    seen.set(colors.join(" "), index);
  }
  assert.is(seen.size, ARRANGED_PEOPLE);
  assert.is(worn.size, 6);
  // Those whom no query shows wear what nobody of the dataset does.
  for (let index = 1_000_000; index < 1_000_100; index++) assert.not.ok(seen.has(colorsOf(3, index).join(" ")));
  assert.not.equal(
    [0, 1, 2, 3].map((index) => colorsOf(4, index)),
    [0, 1, 2, 3].map((index) => colorsOf(3, index)),
  );
});

test("the same colours are worn by many, and nothing else tells people apart", () => {
  const sets = new Map<string, number>();
  for (let index = 0; index < ARRANGED_PEOPLE; index++) {
    const set = colorsOf(3, index).sort().join(" ");
    sets.set(set, (sets.get(set) ?? 0) + 1);
  }
  assert.is(sets.size, 15);
  assert.ok(
    [...sets.values()].every((count) => count >= 10),
    [...sets.values()].join(),
  );
  const [one, other] = [0, 1].map((index) => {
    const { build, hat, upper, lower, shoes, ...rest } = arrangedPerson(3, index);
    return rest;
  });
  assert.equal(one, other);
});

test("a picture shows a person's colours where they are worn", async () => {
  const strongest = (color: readonly number[]) => color.indexOf(Math.max(...color));
  const garments = (index: number) => {
    const { hat, upper, lower } = arrangedPerson(3, index);
    return [hat!.color, upper.fabric.color, lower.fabric.color];
  };
  // Red, green and blue, which light and shade do not turn into each other.
  const vivid = (color: readonly number[]) => 2 * color.reduce((a, b) => a + b) < 4.2 * Math.max(...color);
  const person = [...Array(ARRANGED_PEOPLE).keys()].find((index) => {
    const worn = garments(index);
    return worn.every(vivid) && new Set(worn.map(strongest)).size === 3;
  })!;
  const world = { seed: 3, size: [128, 64], detectorError: 0, outfits: "arranged" } as const;
  const camera = createCamera(3, 0);
  const picture = takePicture(world, { person, camera: 0, take: 0 }, camera, await createScene(3, 0, camera.scene));
  const meanOf = (label: number) => {
    const pixels = [...picture.parsing.keys()].filter((i) => picture.parsing[i] === label);
    assert.ok(pixels.length > 10, `${pixels.length} pixels of ${label}`);
    return [0, 1, 2].map((c) => pixels.reduce((sum, i) => sum + picture.rgb[3 * i + c], 0) / pixels.length);
  };
  assert.equal(
    [LIP.hat, LIP.upperClothes, LIP.pants].map((label) => strongest(meanOf(label))),
    garments(person).map(strongest),
  );
});

test("more people than there are arrangements are refused", () => {
  assert.is(resolveOptions({ outfits: "arranged", trainPeople: 200, testPeople: 100 }).outfits, "arranged");
  assert.throws(
    () => resolveOptions({ outfits: "arranged", trainPeople: 201, testPeople: 100 }),
    /outfits: arranged outfits tell 300 people apart at most: give fewer people/,
  );
});

test.run();
