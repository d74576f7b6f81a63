import sharp from "sharp";
import type { SceneFamily } from "./camera.js";
import { Random } from "./random.js";

/** What a camera sees without people. `pixels` is [HEIGHT, WIDTH, 3], bytes. */
export interface Scene {
  pixels: Uint8Array;
}

const WIDTH = 720;
const HEIGHT = 480;
/** Where the ground begins, in rows of the scene. */
const HORIZON = 190;

/** Draws the place that a camera watches. Pictures of people show different windows of it. */
export async function createScene(seed: number, camera: number, family: SceneFamily): Promise<Scene> {
  const random = new Random(seed, "scene", camera);
  const grain = `<filter id="grain" x="0" y="0" width="100%" height="100%">
    <feTurbulence type="fractalNoise" baseFrequency="${random.between(0.05, 0.4).toFixed(3)}" numOctaves="3" seed="${random.below(1000)}"/>
    <feColorMatrix values="0 0 0 0 0.5  0 0 0 0 0.5  0 0 0 0 0.5  0.9 0 0 0 -0.25"/></filter>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">
    <defs>${grain}</defs>${FAMILIES[family](random)}${furniture(random, family)}
    <rect width="${WIDTH}" height="${HEIGHT}" filter="url(#grain)" opacity="0.45"/></svg>`;
  const { data } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { pixels: new Uint8Array(data) };
}

/** A random window of the scene behind a person, resampled to [height, width, 3] in 0..1. */
export function sceneWindow(scene: Scene, height: number, width: number, random: Random): Float32Array {
  const tall = random.between(0.38, 0.62) * HEIGHT;
  const wide = Math.min((tall * width) / height, WIDTH - 2);
  // The window's lower edge lies on the ground, and its upper edge above the horizon.
  const top = random.between(Math.max(0, HORIZON - 0.5 * tall), Math.min(HORIZON - 0.02 * tall, HEIGHT - tall - 2));
  const left = random.between(0, WIDTH - wide - 1);
  const window = new Float32Array(height * width * 3);
  for (let row = 0; row < height; row++) {
    const y = top + ((row + 0.5) * tall) / height;
    const y0 = Math.floor(y);
    for (let column = 0; column < width; column++) {
      const x = left + ((column + 0.5) * wide) / width;
      const x0 = Math.floor(x);
      for (let channel = 0; channel < 3; channel++) {
        const at = (r: number, c: number) => scene.pixels[(r * WIDTH + c) * 3 + channel];
        const upper = at(y0, x0) * (1 - x + x0) + at(y0, x0 + 1) * (x - x0);
        const lower = at(y0 + 1, x0) * (1 - x + x0) + at(y0 + 1, x0 + 1) * (x - x0);
        window[(row * width + column) * 3 + channel] = (upper * (1 - y + y0) + lower * (y - y0)) / 255;
      }
    }
  }
  return window;
}

const hsl = (h: number, s: number, l: number) => `hsl(${Math.round(h)},${Math.round(s)}%,${Math.round(l)}%)`;
const rect = (x: number, y: number, w: number, h: number, fill: string) =>
  `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}" fill="${fill}"/>`;
const disc = (x: number, y: number, rx: number, ry: number, fill: string) =>
  `<ellipse cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" rx="${rx.toFixed(1)}" ry="${ry.toFixed(1)}" fill="${fill}"/>`;

function fade(id: string, from: string, to: string, y: number, height: number): string {
  return `<linearGradient id="${id}" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="${from}"/>
    <stop offset="1" stop-color="${to}"/></linearGradient>${rect(0, y, WIDTH, height, `url(#${id})`)}`;
}

/** Calls `draw` at steps from x = 0 to the scene's right edge; `draw` answers with the width it took. */
function along(draw: (x: number) => { svg: string; width: number }): string {
  let svg = "";
  for (let x = 0; x < WIDTH; ) {
    const piece = draw(x);
    svg += piece.svg;
    x += piece.width;
  }
  return svg;
}

function paving(random: Random, light: number, hue: number): string {
  const step = random.between(22, 60);
  let lines = fade("ground", hsl(hue, 8, light), hsl(hue, 8, light - 12), HORIZON, HEIGHT - HORIZON);
  for (let row = 0; row < 8; row++)
    lines += rect(0, HORIZON + 2.5 * row * (row + 3), WIDTH, 1.6, hsl(hue, 8, light - 16));
  for (let x = -WIDTH; x < 2 * WIDTH; x += step) {
    const far = WIDTH / 2 + (x - WIDTH / 2) * 0.5;
    lines += `<path d="M${far} ${HORIZON}L${x} ${HEIGHT}" stroke="${hsl(hue, 8, light - 14)}" stroke-width="1.4"/>`;
  }
  return lines;
}

const FAMILIES: Record<SceneFamily, (random: Random) => string> = {
  street: (random) => {
    const road = random.between(30, 55);
    const houses = along((x) => {
      const width = random.between(60, 150);
      const light = random.between(30, 75);
      let svg = rect(x, 0, width, HORIZON, hsl(random.between(10, 50), random.between(5, 35), light));
      for (let y = 12; y < HORIZON - 60; y += 44) {
        for (let w = 10; w < width - 20; w += 32) svg += rect(x + w, y, 18, 28, hsl(210, 20, light - 22));
      }
      svg += rect(
        x + width * 0.3,
        HORIZON - 58,
        width * 0.45,
        58,
        hsl(random.between(0, 360), 30, random.between(15, 50)),
      );
      return { svg, width };
    });
    const curb = rect(0, HORIZON + 40, WIDTH, 5, hsl(40, 5, road + 25));
    return houses + fade("road", hsl(220, 4, road + 8), hsl(220, 4, road - 8), HORIZON, HEIGHT - HORIZON) + curb;
  },
  wall: (random) => {
    const hue = random.between(5, 45);
    const light = random.between(35, 70);
    const brick = random.between(8, 16);
    let svg = rect(0, 0, WIDTH, HORIZON, hsl(hue, 28, light));
    for (let y = 0; y < HORIZON; y += brick) {
      svg += rect(0, y, WIDTH, 1.4, hsl(hue, 12, light + 15));
      const shift = (y / brick) % 2 < 1 ? 0 : brick;
      for (let x = shift; x < WIDTH; x += 2 * brick) svg += rect(x, y, 1.4, brick, hsl(hue, 12, light + 15));
    }
    return svg + paving(random, random.between(40, 70), hue);
  },
  park: (random) => {
    let svg = fade("sky", hsl(205, 45, 82), hsl(205, 30, 90), 0, HORIZON);
    svg += along((x) => {
      const width = random.between(20, 60);
      const green = () => hsl(random.between(70, 130), random.between(25, 45), random.between(18, 38));
      const trunk = rect(x + width / 2, HORIZON - 60, random.between(5, 11), 66, hsl(25, 30, 24));
      const leaves = [0, 1, 2].map(() =>
        disc(
          x + random.between(0, width),
          random.between(40, HORIZON - 25),
          random.between(22, 45),
          random.between(20, 45),
          green(),
        ),
      );
      return { svg: trunk + leaves.join(""), width };
    });
    svg += fade("lawn", hsl(90, 32, 40), hsl(95, 34, random.between(26, 36)), HORIZON, HEIGHT - HORIZON);
    const x = random.between(0, WIDTH);
    return `${svg}<path d="M${x} ${HORIZON}L${x - 200} ${HEIGHT}L${x + 160} ${HEIGHT}L${x + 40} ${HORIZON}Z" fill="${hsl(40, 20, 62)}"/>`;
  },
  hall: (random) => {
    const light = random.between(60, 85);
    let svg = fade("wall", hsl(45, 10, light), hsl(45, 10, light - 10), 0, HORIZON);
    svg += along((x) => {
      const width = random.between(70, 150);
      const poster = hsl(random.between(0, 360), random.between(20, 65), random.between(30, 65));
      const pillar = random.chance(0.5) ? rect(x + width - 18, 0, 18, HORIZON + 10, hsl(220, 6, light - 30)) : "";
      return { svg: rect(x + 12, 40, width * 0.5, 90, poster) + pillar, width };
    });
    return svg + paving(random, random.between(50, 80), 210);
  },
  clutter: (random) => {
    const hue = random.between(0, 360);
    let svg = fade("haze", hsl(hue, 15, random.between(40, 80)), hsl(hue + 40, 15, 45), 0, HORIZON);
    svg += fade("floor", hsl(hue + 40, 10, random.between(35, 60)), hsl(hue + 60, 12, 40), HORIZON, HEIGHT - HORIZON);
    for (let i = 0; i < 60; i++) {
      const color = hsl(random.between(0, 360), random.between(5, 45), random.between(15, 80));
      const [x, y] = [random.between(0, WIDTH), random.between(20, HORIZON + 60)];
      const [w, h] = [random.between(8, 60), random.between(8, 70)];
      svg += random.chance(0.5) ? disc(x, y, w / 2, h / 2, color) : rect(x, y, w, h, color);
    }
    return svg;
  },
};

/** Lamp posts, bins, bicycles' wheels and, out of doors, parked cars. */
function furniture(random: Random, family: SceneFamily): string {
  let svg = "";
  const outdoors = family !== "hall";
  for (let i = 0; i < 7; i++) {
    const [x, foot] = [random.between(0, WIDTH), HORIZON + random.between(10, 70)];
    const color = hsl(random.between(0, 360), random.between(5, 60), random.between(12, 65));
    switch (random.weighted({ post: 2, bin: 1, wheels: 1, car: outdoors ? 1.5 : 0 })) {
      case "post":
        svg += rect(x, 0, random.between(4, 9), foot, hsl(210, 8, random.between(15, 60)));
        break;
      case "bin":
        svg += rect(x, foot - 50, 30, 50, color);
        break;
      case "wheels":
        for (const shift of [0, 44]) {
          svg += `<circle cx="${x + shift}" cy="${foot - 18}" r="17" fill="none" stroke="#222" stroke-width="3"/>`;
        }
        svg += `<path d="M${x} ${foot - 18}L${x + 18} ${foot - 44}L${x + 44} ${foot - 18}" fill="none" stroke="${color}" stroke-width="4"/>`;
        break;
      case "car":
        svg += rect(x, foot - 40, 150, 32, color) + rect(x + 28, foot - 66, 88, 30, hsl(205, 25, 30));
        svg += disc(x + 30, foot - 8, 14, 14, "#181818") + disc(x + 120, foot - 8, 14, 14, "#181818");
        break;
    }
  }
  return svg;
}
