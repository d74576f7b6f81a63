import { test } from "uvu";
import * as assert from "uvu/assert";
import { Cone } from "#src/data/synth/cone.js";
import { drawLayer } from "#src/data/synth/layer.js";
import { createView, project } from "#src/data/synth/view.js";

const swatch = { color: [1, 1, 1] as const, label: 5 };
const paint = () => swatch;
const close = (a: number, b: number, tolerance = 1e-6) => assert.ok(Math.abs(a - b) < tolerance, `${a} is not ${b}`);

test("a ray meets the side, the rounded ends and the inside of an open end where geometry says", () => {
  const cone = new Cone({ from: [0, 0, 0], to: [0, 2, 0], radii: [0.5, 0.5], caps: [0, 1], paint });
  const along = (origin: readonly [number, number, number], direction: readonly [number, number, number]) => {
    const o = cone.pointToLocal(origin);
    const d = cone.toLocal(direction);
    const t = cone.meet(o, ...d);
    return { t, surface: cone.surface([o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]], d) };
  };
  const side = along([0, 1, 5], [0, 0, -1]);
  close(side.t, 4.5);
  close(side.surface.normal[2], 1);
  close(side.surface.angle, 0);
  assert.not(side.surface.inside);
  close(along([0, 5, 0], [0, -1, 0]).t, 2.5);
  const within = along([0, -1, 0.2], [0, 0.5, -0.2]);
  assert.ok(within.surface.inside);
  assert.ok(within.surface.normal[2] > 0.9, "the normal faces the viewer");
  assert.is(along([2, 1, 5], [0, 0, -1]).t, Number.POSITIVE_INFINITY);
});

test("a flattened cross-section is as deep as it says", () => {
  const cone = new Cone({ from: [0, 0, 0], to: [0, 1, 0], radii: [0.4, 0.4], flat: 0.5, paint });
  const d = cone.toLocal([0, 0, -1]);
  close(cone.meet(cone.pointToLocal([0, 0.5, 3]), ...d), 2.8);
  const across = cone.toLocal([-1, 0, 0]);
  close(cone.meet(cone.pointToLocal([3, 0.5, 0]), ...across), 2.6);
});

test("the projected box is the smallest that holds the drawn shape", () => {
  const cone = new Cone({ from: [-0.2, 0.1, 0], to: [0.4, 0.9, 0.3], radii: [0.2, 0.1], flat: 0.7, paint });
  const angles = { heading: 0.6, pitch: 0.3, roll: 0.1, distance: 30, light: [0, 1, 0] as const };
  const view = createView([0, 0.5, 0], angles);
  const layer = drawLayer([cone], view, project([cone], view), 60, 60);
  const covered = (pixels: number[]) => pixels.some((pixel) => layer.alpha[pixel] > 0);
  const line = Array.from({ length: 60 }, (_, i) => i);
  assert.ok(covered(line.map((i) => i)) || covered(line.map((i) => 60 + i)), "top");
  assert.ok(covered(line.map((i) => 59 * 60 + i)) || covered(line.map((i) => 58 * 60 + i)), "bottom");
  assert.ok(covered(line.map((i) => 60 * i)) || covered(line.map((i) => 60 * i + 1)), "left");
  assert.ok(covered(line.map((i) => 60 * i + 59)) || covered(line.map((i) => 60 * i + 58)), "right");
});

test.run();
