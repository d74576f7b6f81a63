import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Camera, createCamera } from "#src/data/synth/camera.js";
import { LIP } from "#src/data/synth/labels.js";
import { createPerson } from "#src/data/synth/person.js";
import { type Picture, takePicture } from "#src/data/synth/render.js";
import { createScene, type Scene } from "#src/data/synth/scene.js";

const CAMERAS = 4;
const HEAD: readonly number[] = [LIP.hat, LIP.hair, LIP.sunglasses, LIP.face];
const LEG: readonly number[] = [
  LIP.socks,
  LIP.pants,
  LIP.skirt,
  LIP.leftLeg,
  LIP.rightLeg,
  LIP.leftShoe,
  LIP.rightShoe,
];

interface Taken extends Picture {
  pid: number;
  camid: number;
}

async function world(seed: number): Promise<{ cameras: Camera[]; scenes: Scene[] }> {
  const cameras = Array.from({ length: CAMERAS }, (_, index) => createCamera(seed, index));
  return { cameras, scenes: await Promise.all(cameras.map(({ scene }, index) => createScene(seed, index, scene))) };
}

async function takeAll(seed: number, people: number, takes: number, detectorError: number): Promise<Taken[]> {
  const { cameras, scenes } = await world(seed);
  const taken: Taken[] = [];
  for (let pid = 0; pid < people; pid++) {
    for (let camid = 0; camid < CAMERAS; camid++) {
      for (let take = 0; take < takes; take++) {
        const shot = { person: pid, camera: camid, take };
        const picture = takePicture({ seed, size: [128, 64], detectorError }, shot, cameras[camid], scenes[camid]);
        taken.push({ ...picture, pid, camid });
      }
    }
  }
  return taken;
}

const share = (picture: Picture, labels: readonly number[]) =>
  picture.parsing.reduce((sum, label) => sum + (labels.includes(label) ? 1 : 0), 0) / picture.parsing.length;
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: number[]) => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
const firstRow = (picture: Picture) => Math.floor(picture.segmentation.indexOf(255) / picture.width);
const lastRow = (picture: Picture) => Math.floor(picture.segmentation.lastIndexOf(255) / picture.width);

/** Rank-1 by nearest neighbour: each camera's first takes are the queries; same person and camera are left out. */
function rank1(taken: Taken[], takes: number, feature: (picture: Taken) => number[]): number {
  const features = taken.map(feature);
  let right = 0;
  let queries = 0;
  for (let q = 0; q < taken.length; q += takes) {
    let best = Number.POSITIVE_INFINITY;
    let found = -1;
    for (let g = 0; g < taken.length; g++) {
      if (g % takes === 0 || (taken[g].pid === taken[q].pid && taken[g].camid === taken[q].camid)) continue;
      const distance = features[q].reduce((sum, value, i) => sum + (value - features[g][i]) ** 2, 0);
      if (distance < best) [best, found] = [distance, taken[g].pid];
    }
    queries++;
    if (found === taken[q].pid) right++;
  }
  return right / queries;
}

function meanColor(picture: Picture, where: (pixel: number) => boolean): [number, number, number] {
  const sum: [number, number, number] = [0, 0, 0];
  let pixels = 0;
  for (let pixel = 0; pixel < picture.parsing.length; pixel++) {
    if (!where(pixel)) continue;
    pixels++;
    for (let channel = 0; channel < 3; channel++) sum[channel] += picture.rgb[3 * pixel + channel];
  }
  return pixels === 0 ? [128, 128, 128] : [sum[0] / pixels, sum[1] / pixels, sum[2] / pixels];
}

test("a picture is a function of seed and shot alone", async () => {
  const shot = { person: 3, camera: 1, take: 2 };
  const take = async (seed: number) => {
    const { cameras, scenes } = await world(seed);
    return takePicture({ seed, size: [64, 32], detectorError: 1 }, shot, cameras[1], scenes[1]);
  };
  const [once, again, other] = [await take(1), await take(1), await take(2)];
  assert.equal(once, again);
  assert.not.equal(once.rgb, other.rgb);
});

test("parsing holds LIP labels only, segmentation 0 and 255, and parsed pixels are the person's", async () => {
  const allowed = new Set<number>(Object.values(LIP));
  for (const picture of await takeAll(3, 12, 2, 1)) {
    assert.is(picture.rgb.length, 128 * 64 * 3);
    picture.parsing.forEach((label, pixel) => {
      assert.ok(allowed.has(label), `label ${label}`);
      assert.ok(picture.segmentation[pixel] === 0 || picture.segmentation[pixel] === 255);
      if (label > 0) assert.is(picture.segmentation[pixel], 255);
    });
  }
});

test("exact boxes hold whole people of plausible proportions", async () => {
  const taken = (await takeAll(1, 30, 1, 0)).filter((picture) => lastRow(picture) > 110);
  assert.ok(taken.length > 90, `${taken.length} of 120 pictures show feet`);
  const people = mean(taken.map((picture) => mean(Array.from(picture.segmentation)) / 255));
  assert.ok(people > 0.2 && people < 0.45, `people fill ${people}`);
  const heads = mean(taken.map((picture) => share(picture, HEAD)));
  assert.ok(heads > 0.015 && heads < 0.06, `heads fill ${heads}`);
  const legs = mean(taken.map((picture) => share(picture, LEG)));
  assert.ok(legs > 0.06 && legs < 0.2, `legs fill ${legs}`);
  for (const picture of taken) assert.ok(firstRow(picture) <= 8, `head in row ${firstRow(picture)}`);
});

test("the left arm is the person's left: on the right of those who come, on the left of those who go", async () => {
  const seen = { coming: 0, going: 0 };
  for (const picture of await takeAll(5, 20, 4, 0)) {
    const column = (label: number) => {
      const columns: number[] = [];
      picture.parsing.forEach((value, pixel) => {
        if (value === label) columns.push(pixel % picture.width);
      });
      return columns.length > 15 ? mean(columns) : undefined;
    };
    const [left, right] = [column(LIP.leftArm), column(LIP.rightArm)];
    const face = share(picture, [LIP.face]) * 8192;
    const hair = share(picture, [LIP.hair]) * 8192;
    if (left === undefined || right === undefined || Math.abs(left - right) < 12) continue;
    if (face > 90 && face > hair) seen.coming += Math.sign(left - right);
    if (face === 0 && hair > 60) seen.going += Math.sign(right - left);
  }
  assert.ok(seen.coming >= 3 && seen.going >= 3, JSON.stringify(seen));
});

test("bags belong to the segmentation and not to the parsing", async () => {
  const seed = 1;
  const { cameras, scenes } = await world(seed);
  const unparsed = (person: number) => {
    const shares = [0, 1, 2, 3, 4, 5, 6, 7].map((take) => {
      const shot = { person, camera: 0, take };
      const picture = takePicture({ seed, size: [128, 64], detectorError: 0 }, shot, cameras[0], scenes[0]);
      return picture.segmentation.reduce((sum, value, i) => sum + (value && !picture.parsing[i] ? 1 : 0), 0);
    });
    return mean(shares);
  };
  const people = Array.from({ length: 40 }, (_, index) => index);
  const carrier = people.find((index) => createPerson(seed, index).bag?.kind === "backpack")!;
  const free = people.find((index) => createPerson(seed, index).bag === undefined)!;
  assert.ok(unparsed(carrier) > 2 * unparsed(free), `${unparsed(carrier)} and ${unparsed(free)} pixels`);
});

test("detector error spreads the person's place and cuts heads and legs off", async () => {
  const [exact, usual, bad] = [await takeAll(1, 30, 1, 0), await takeAll(1, 30, 1, 1), await takeAll(1, 30, 1, 2)];
  const spread = (taken: Taken[]) => deviation(taken.map(firstRow)) + deviation(taken.map(lastRow));
  assert.ok(spread(usual) > 2 * spread(exact), `${spread(exact)} to ${spread(usual)}`);
  assert.ok(spread(bad) > spread(usual), `${spread(usual)} to ${spread(bad)}`);
  const lost = (taken: Taken[]) =>
    taken.filter((picture) => share(picture, HEAD) < 1 / 512 || share(picture, LEG) < 1 / 512).length;
  assert.ok(lost(exact) <= 2, `${lost(exact)} unreliable at exact boxes`);
  assert.ok(lost(bad) > lost(usual) && lost(bad) > 12, `${lost(usual)}, then ${lost(bad)} unreliable`);
});

test("the mean colour does not tell people apart, while the colours of their parts do", async () => {
  const takes = 4;
  const taken = await takeAll(1, 20, takes, 1);
  const global = rank1(taken, takes, (picture) => meanColor(picture, () => true));
  // The camera's own tone is taken out as its mean over each part, which a learner can know from training pictures.
  const groups = [HEAD, [LIP.upperClothes, LIP.coat, LIP.dress], [LIP.pants, LIP.skirt], [LIP.leftShoe, LIP.rightShoe]];
  const colors = new Map(
    taken.map((picture) => [
      picture,
      groups.flatMap((group: readonly number[]) =>
        meanColor(picture, (pixel) => group.includes(picture.parsing[pixel])),
      ),
    ]),
  );
  const tones = Array.from({ length: CAMERAS }, (_, camid) => {
    const own = taken.filter((picture) => picture.camid === camid).map((picture) => colors.get(picture)!);
    return own[0].map((_, i) => mean(own.map((color) => color[i])));
  });
  const parts = rank1(taken, takes, (picture) =>
    colors.get(picture)!.map((value, i) => value - tones[picture.camid][i]),
  );
  console.log(`Rank-1 by mean colour ${global.toFixed(3)}, by the colours of parsed parts ${parts.toFixed(3)}`);
  assert.ok(global < 0.3, `mean colour alone: Rank-1 ${global}`);
  assert.ok(parts > 0.5, `part colours: Rank-1 ${parts}`);
});

test("people of a family share clothes and differ in some of them", () => {
  for (let family = 0; family < 10; family++) {
    const [first, second, third] = [0, 1, 2].map((member) => createPerson(9, 3 * family + member));
    assert.equal(second.upper.fabric.color, first.upper.fabric.color);
    assert.is.not(second.upper.fabric.pattern, first.upper.fabric.pattern);
    assert.equal(third.upper.fabric.color, first.lower.fabric.color);
    assert.not.equal(second.build, first.build);
  }
});

test.run();
