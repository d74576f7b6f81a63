import { arrangedPerson } from "./arranged.js";
import { type Camera, expose } from "./camera.js";
import { detect } from "./detector.js";
import { createFigure } from "./figure.js";
import { drawLayer, type Layer } from "./layer.js";
import type { SynthOptions } from "./options.js";
import { createPerson, type Person } from "./person.js";
import { drawPose } from "./pose.js";
import { Random } from "./random.js";
import { type Scene, sceneWindow } from "./scene.js";
import { clamp } from "./vector.js";
import { type Box, createView, project, type View } from "./view.js";

/** One picture to take: the `take`-th of a person by a camera (numbers from 0). */
export interface Shot {
  person: number;
  camera: number;
  take: number;
  /** A detector's false alarm: the box misses most of the person, as Market-1501's junk images do. */
  missed?: boolean;
}

export interface Picture {
  height: number;
  width: number;
  /** [height, width, 3] sRGB bytes. */
  rgb: Uint8Array;
  /** [height, width] LIP label indices; neck and bags are 0, as in real parsing tools' output. */
  parsing: Uint8Array;
  /** [height, width], 255 on the person with all that is worn and carried, else 0. */
  segmentation: Uint8Array;
}

interface World {
  seed: number;
  outfits?: SynthOptions["outfits"];
  size: readonly [height: number, width: number];
  detectorError: number;
}

const personOf = ({ seed, outfits }: World, index: number): Person =>
  outfits === "arranged" ? arrangedPerson(seed, index) : createPerson(seed, index);

/** People who walk through the picture are none of the dataset's. */
const PASSERS_BY = 2_000_000;

/** Takes a picture: a pure function of its arguments. */
export function takePicture(world: World, shot: Shot, camera: Camera, scene: Scene): Picture {
  const [height, width] = world.size;
  const random = new Random(world.seed, "shot", shot.person, shot.camera, shot.take, shot.missed ? "missed" : "seen");
  const person = personOf(world, shot.person);
  const figure = createFigure(person, drawPose(random));
  const view = createView(figure.center, {
    heading: direction(world.seed, shot) * (Math.PI / 4) + random.normal(0, 0.15),
    pitch: clamp(random.normal(camera.pitch, 0.05), 0, 0.6),
    roll: random.normal(0, 0.035),
    distance: camera.distance * random.between(0.85, 1.25),
    light: camera.light,
  });
  const body = project(figure.cones, view);
  let box = detect(body, width / height, world.detectorError, random);
  if (shot.missed) box = miss(box, random);

  const light = sceneWindow(scene, height, width, random);
  if (random.chance(0.25)) {
    const stranger = drawPasserBy(world, camera, view, body, box, random.between(1.05, 1.6), random);
    compose(light, stranger);
  }
  castShadow(light, view, box, height, width);
  const layer = drawLayer(figure.cones, view, box, height, width);
  compose(light, layer);
  const parsing = layer.labels;
  const segmentation = layer.alpha.map((alpha) => (alpha >= 0.5 ? 255 : 0));
  const hide = (pixel: number) => {
    parsing[pixel] = 0;
    segmentation[pixel] = 0;
  };

  if (random.chance(camera.occlusion * 0.3)) {
    const stranger = drawPasserBy(world, camera, view, body, box, random.between(0.85, 1), random);
    compose(light, stranger);
    stranger.alpha.forEach((alpha, pixel) => {
      if (alpha >= 0.5) hide(pixel);
    });
  }
  if (random.chance(camera.occlusion)) occlude(light, height, width, random, hide);
  const rgb = expose(light, height, width, camera, random);
  return { height, width, rgb, parsing, segmentation: Uint8Array.from(segmentation) };
}

/** One of eight directions; consecutive takes by a camera turn by 135 degrees, so that eight takes show all of them. */
function direction(seed: number, shot: Shot): number {
  const first = new Random(seed, "direction", shot.person, shot.camera).below(8);
  return (first + 3 * shot.take) % 8;
}

/** A box beside the person. */
function miss(box: Box, random: Random): Box {
  const shift = (random.chance(0.5) ? 1 : -1) * random.between(0.6, 1.2) * (box.right - box.left);
  return { ...box, left: box.left + shift, right: box.right + shift };
}

/** Someone else, beside the person whose exact box is `body` and `distance` times as far away. */
function drawPasserBy(
  world: World,
  camera: Camera,
  view: View,
  body: Box,
  box: Box,
  distance: number,
  random: Random,
): Layer {
  const person = personOf(world, PASSERS_BY + random.below(10_000));
  const figure = createFigure(person, drawPose(random));
  const own = createView(figure.center, {
    heading: random.between(0, 2 * Math.PI),
    pitch: Math.asin(-view.forward[1]),
    roll: 0,
    distance: random.between(6, 9),
    light: camera.light,
  });
  // The picture's box as the stranger's view has it, so that the figures' sizes relate as their distances do.
  const exact = project(figure.cones, own);
  const zoom = (distance * (exact.top - exact.bottom)) / (body.top - body.bottom);
  const aside = (random.chance(0.5) ? 1 : -1) * random.between(0.22, 0.42) * (body.top - body.bottom);
  const [height, width] = world.size;
  const window = {
    left: zoom * (box.left + aside),
    right: zoom * (box.right + aside),
    top: zoom * box.top,
    bottom: zoom * box.bottom,
  };
  return drawLayer(figure.cones, own, window, height, width);
}

function compose(light: Float32Array, layer: Layer): void {
  for (let pixel = 0; pixel < layer.alpha.length; pixel++) {
    const alpha = layer.alpha[pixel];
    if (alpha === 0) continue;
    for (let i = 3 * pixel; i < 3 * pixel + 3; i++) light[i] = light[i] * (1 - alpha) + layer.color[i];
  }
}

/** A soft dark spot where the person stands. */
function castShadow(light: Float32Array, view: View, box: Box, height: number, width: number): void {
  const offset = view.origin.map((v) => -v);
  const along = (axis: readonly number[]) => axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2];
  const depth = along(view.forward);
  const column = ((along(view.right) / depth - box.left) / (box.right - box.left)) * width;
  const row = ((box.top - along(view.up) / depth) / (box.top - box.bottom)) * height;
  const radius = (0.5 / depth / (box.right - box.left)) * width;
  const flat = (0.25 / depth / (box.top - box.bottom)) * height;
  for (let pixel = 0; pixel < height * width; pixel++) {
    const x = ((pixel % width) - column) / radius;
    const y = (Math.floor(pixel / width) - row) / flat;
    const shade = 1 - 0.5 * Math.exp(-2 * (x * x + y * y));
    for (let i = 3 * pixel; i < 3 * pixel + 3; i++) light[i] *= shade;
  }
}

/** A hedge, wall or box before the lower body, or a post before one side; tells `hide` which pixels it covers. */
function occlude(
  light: Float32Array,
  height: number,
  width: number,
  random: Random,
  hide: (pixel: number) => void,
): void {
  const low = random.chance(0.65);
  const mirrored = random.chance(0.5);
  const edge = low ? 1 - random.between(0.1, 0.32) : random.between(0.12, 0.3);
  const wobble = low && random.chance(0.5) ? 0.02 : 0;
  const base = [0, 1, 2].map(() => random.between(0.12, 0.7));
  const ripple = random.between(0.5, 2.5);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const x = (mirrored ? width - 1 - column : column) / width;
      const y = row / height;
      const covered = low ? y > edge + wobble * Math.sin(40 * x) + 0.05 * x : x < edge && x > edge - 0.2;
      if (!covered) continue;
      const pixel = row * width + column;
      const shade = 0.92 + 0.08 * Math.sin(ripple * 31 * x) * Math.sin(ripple * 47 * y);
      for (let channel = 0; channel < 3; channel++) light[3 * pixel + channel] = base[channel] * shade;
      hide(pixel);
    }
  }
}
