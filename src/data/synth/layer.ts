import type { Cone } from "./cone.js";
import { dot, scale, type Vec3 } from "./vector.js";
import { type Box, project, type View } from "./view.js";

/** Rays per pixel along each side. */
const SAMPLES = 2;
/** How dark the unlit side is, and how much the light adds. */
const AMBIENT = 0.62;
const DIFFUSE = 0.45;

/** One figure drawn alone. `color` is [height, width, 3] and weighed by `alpha`, [height, width] in 0..1. */
export interface Layer {
  color: Float32Array;
  alpha: Float32Array;
  /** [height, width] LIP labels, the one that most of the pixel's rays see; 0 where most see nothing or no label. */
  labels: Uint8Array;
}

/** Draws the cones within the box, [height, width] pixels, by casting SAMPLES x SAMPLES rays a pixel. */
export function drawLayer(cones: readonly Cone[], view: View, box: Box, height: number, width: number): Layer {
  const rows = height * SAMPLES;
  const columns = width * SAMPLES;
  const stepX = (box.right - box.left) / columns;
  const stepY = (box.bottom - box.top) / rows;
  const depth = new Float64Array(rows * columns).fill(Number.POSITIVE_INFINITY);
  const owner = new Int16Array(rows * columns).fill(-1);

  const frames = cones.map((cone) => ({
    cone,
    origin: cone.pointToLocal(view.origin),
    forward: cone.toLocal(view.forward),
    right: cone.toLocal(view.right),
    up: cone.toLocal(view.up),
  }));
  cones.forEach((cone, index) => {
    const bounds = project([cone], view);
    const firstRow = Math.max(0, Math.floor((bounds.top - box.top) / stepY) - 1);
    const lastRow = Math.min(rows - 1, Math.ceil((bounds.bottom - box.top) / stepY) + 1);
    const firstColumn = Math.max(0, Math.floor((bounds.left - box.left) / stepX) - 1);
    const lastColumn = Math.min(columns - 1, Math.ceil((bounds.right - box.left) / stepX) + 1);
    const { origin, forward, right, up } = frames[index];
    for (let row = firstRow; row <= lastRow; row++) {
      const y = box.top + (row + 0.5) * stepY;
      for (let column = firstColumn; column <= lastColumn; column++) {
        const x = box.left + (column + 0.5) * stepX;
        const t = cone.meet(
          origin,
          forward[0] + x * right[0] + y * up[0],
          forward[1] + x * right[1] + y * up[1],
          forward[2] + x * right[2] + y * up[2],
        );
        const at = row * columns + column;
        if (t < depth[at]) {
          depth[at] = t;
          owner[at] = index;
        }
      }
    }
  });

  const layer: Layer = {
    color: new Float32Array(height * width * 3),
    alpha: new Float32Array(height * width),
    labels: new Uint8Array(height * width),
  };
  const share = 1 / (SAMPLES * SAMPLES);
  const seen = new Uint8Array(SAMPLES * SAMPLES);
  for (let pixel = 0; pixel < height * width; pixel++) {
    const top = Math.floor(pixel / width) * SAMPLES;
    const start = (pixel % width) * SAMPLES;
    for (let sample = 0; sample < seen.length; sample++) {
      const row = top + Math.floor(sample / SAMPLES);
      const column = start + (sample % SAMPLES);
      const at = row * columns + column;
      seen[sample] = 0;
      if (owner[at] < 0) continue;
      const { cone, origin, forward, right, up } = frames[owner[at]];
      const x = box.left + (column + 0.5) * stepX;
      const y = box.top + (row + 0.5) * stepY;
      const d: Vec3 = [
        forward[0] + x * right[0] + y * up[0],
        forward[1] + x * right[1] + y * up[1],
        forward[2] + x * right[2] + y * up[2],
      ];
      const t = depth[at];
      const surface = cone.surface([origin[0] + t * d[0], origin[1] + t * d[1], origin[2] + t * d[2]], d);
      const swatch = cone.paint(surface);
      const lit = AMBIENT + DIFFUSE * Math.max(0, dot(surface.normal, view.light));
      // Wrinkles: cheap waves over the body, so that no cloth is flat.
      const wrinkle = 1 + 0.06 * Math.sin(31 * surface.y + 5 * Math.sin(17 * surface.x + 11 * surface.z));
      const [red, green, blue] = scale(swatch.color, lit * wrinkle * (surface.inside ? 0.45 : 1) * share);
      layer.color[pixel * 3] += red;
      layer.color[pixel * 3 + 1] += green;
      layer.color[pixel * 3 + 2] += blue;
      layer.alpha[pixel] += share;
      seen[sample] = swatch.label;
    }
    layer.labels[pixel] = mostFrequent(seen);
  }
  return layer;
}

/** The most frequent value; of equals the one that comes first. */
function mostFrequent(values: Uint8Array): number {
  let best = values[0];
  let most = 0;
  for (const value of values) {
    let count = 0;
    for (const other of values) if (other === value) count++;
    if (count > most) {
      most = count;
      best = value;
    }
  }
  return best;
}
