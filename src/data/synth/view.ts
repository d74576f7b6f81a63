import type { Cone } from "./cone.js";
import { add, cross, dot, normalize, rotate, scale, type Vec3 } from "./vector.js";

/** A pinhole camera in the body frame of the person it looks at. */
export interface View {
  origin: Vec3;
  forward: Vec3;
  right: Vec3;
  up: Vec3;
  /** Unit vector towards the light. */
  light: Vec3;
}

/** A rectangle on the plane at distance 1 before the camera, x to the right, y up. */
export interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface ViewAngles {
  /** Which way the person walks: 0 towards the camera, pi away from it, pi / 2 to the camera's right. */
  heading: number;
  /** How steeply the camera looks down, and its roll about the line of sight. */
  pitch: number;
  roll: number;
  /** Metres from the person's middle. */
  distance: number;
  /** Towards the light, as the camera sees it: right, up, back towards the camera. */
  light: Vec3;
}

export function createView(target: Vec3, angles: ViewAngles): View {
  const { heading, pitch, roll, distance, light } = angles;
  const back: Vec3 = [-Math.sin(heading) * Math.cos(pitch), Math.sin(pitch), Math.cos(heading) * Math.cos(pitch)];
  const forward = scale(back, -1);
  const level = normalize(cross(forward, [0, 1, 0]));
  const right = rotate(level, forward, roll);
  const up = cross(right, forward);
  return {
    origin: add(target, scale(back, distance)),
    forward,
    right,
    up,
    light: normalize(add(add(scale(right, light[0]), scale(up, light[1])), scale(back, light[2]))),
  };
}

/** The box around all cones as the view sees them. */
export function project(cones: readonly Cone[], view: View): Box {
  const box = { left: Infinity, right: -Infinity, top: -Infinity, bottom: Infinity };
  for (const cone of cones) {
    const across = cone.extents(view.right);
    const upright = cone.extents(view.up);
    for (const end of [0, 1]) {
      const offset = add(across[end].center, scale(view.origin, -1));
      const depth = dot(offset, view.forward);
      const x = dot(offset, view.right) / depth;
      const y = dot(offset, view.up) / depth;
      box.left = Math.min(box.left, x - across[end].extent / depth);
      box.right = Math.max(box.right, x + across[end].extent / depth);
      box.bottom = Math.min(box.bottom, y - upright[end].extent / depth);
      box.top = Math.max(box.top, y + upright[end].extent / depth);
    }
  }
  return box;
}
