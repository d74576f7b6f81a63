import { cross, dot, normalize, scale, subtract, type Vec3 } from "./vector.js";

/** A colour and the LIP label that goes with it. */
export interface Swatch {
  color: Vec3;
  label: number;
}

/** A point of a cone's surface, as its paint sees it. */
export interface Surface {
  /** Position in the body frame: to the person's left, up from the ground, forward; metres. */
  x: number;
  y: number;
  z: number;
  /** Metres along the axis from the first end; negative and beyond the length on the caps. */
  along: number;
  /** Radians around the axis: 0 at the front, positive towards the person's left. */
  angle: number;
  /** Metres around the axis, from the front, at the cone's mean radius. */
  around: number;
  /** Unit normal in the body frame, towards the viewer. */
  normal: Vec3;
  /** The viewer looks into an open end and sees the far side from within. */
  inside: boolean;
}

export type Paint = (surface: Surface) => Swatch;

export interface ConeShape {
  from: Vec3;
  to: Vec3;
  /** Radii at the two ends, across the front. */
  radii: readonly [number, number];
  /** Depth (front to back) over width. */
  flat?: number;
  /** Height of the rounded ends over the radius there; 0 leaves an end open. */
  caps?: readonly [number, number];
  /** Which way the angle 0 faces. */
  front?: Vec3;
  paint: Paint;
}

const FORWARD: Vec3 = [0, 0, 1];

/**
 * A truncated cone with an elliptic cross-section and rounded or open ends: every piece of a figure. Rays are met in
 * a frame scaled so that the cross-section is a circle: axis along y, front along z, first end at the origin.
 */
export class Cone {
  readonly paint: Paint;
  private readonly from: Vec3;
  private readonly length: number;
  private readonly slope: number;
  private readonly radii: readonly [number, number];
  private readonly caps: readonly [number, number];
  private readonly flat: number;
  /** Unit axes of the cone in the body frame. */
  private readonly across: Vec3;
  private readonly axis: Vec3;
  private readonly depth: Vec3;

  constructor(shape: ConeShape) {
    const { from, to, radii, flat = 1, caps = [1, 1], front = FORWARD } = shape;
    const span = subtract(to, from);
    this.from = from;
    this.length = Math.max(Math.sqrt(dot(span, span)), 1e-4);
    this.axis = normalize(span);
    this.depth = normalize(subtract(front, scale(this.axis, dot(front, this.axis))));
    this.across = cross(this.axis, this.depth);
    this.radii = radii;
    this.slope = (radii[1] - radii[0]) / this.length;
    this.caps = caps;
    this.flat = flat;
    this.paint = shape.paint;
  }

  /** A direction of the body frame in the cone's scaled frame. */
  toLocal(v: Vec3): Vec3 {
    return [dot(v, this.across), dot(v, this.axis), dot(v, this.depth) / this.flat];
  }

  /** A point of the body frame in the cone's scaled frame. */
  pointToLocal(p: Vec3): Vec3 {
    return this.toLocal(subtract(p, this.from));
  }

  /** The ends, each with the half extent of the shape around it along a unit direction `d`. */
  extents(d: Vec3): { center: Vec3; extent: number }[] {
    const [x, y, z] = [dot(d, this.across), dot(d, this.axis), dot(d, this.depth) * this.flat];
    return [0, 1].map((end) => ({
      center: [0, 1, 2].map((i) => this.from[i] + end * this.length * this.axis[i]) as unknown as Vec3,
      extent: this.radii[end] * Math.sqrt(x * x + z * z + (y * this.caps[end]) ** 2),
    }));
  }

  /** Distance to the first meeting of the ray o + t d (local frame) with the surface, in units of d; or Infinity. */
  meet(o: Vec3, dx: number, dy: number, dz: number): number {
    const [ox, oy, oz] = o;
    let nearest = Number.POSITIVE_INFINITY;
    const radius = this.radii[0] + this.slope * oy;
    const narrowing = this.slope * dy;
    const a = dx * dx + dz * dz - narrowing * narrowing;
    const b = ox * dx + oz * dz - radius * narrowing;
    const c = ox * ox + oz * oz - radius * radius;
    const discriminant = b * b - a * c;
    if (discriminant >= 0 && a > 1e-12) {
      const root = Math.sqrt(discriminant);
      for (const t of [(-b - root) / a, (-b + root) / a]) {
        const y = oy + t * dy;
        if (t > 0 && y >= 0 && y <= this.length) {
          nearest = t;
          break;
        }
      }
    }
    for (let end = 0; end < 2; end++) {
      const cap = this.caps[end];
      if (cap === 0) continue;
      const y = (oy - end * this.length) / cap;
      const ey = dy / cap;
      const ea = dx * dx + ey * ey + dz * dz;
      const eb = ox * dx + y * ey + oz * dz;
      const ec = ox * ox + y * y + oz * oz - this.radii[end] ** 2;
      const inner = eb * eb - ea * ec;
      if (inner < 0) continue;
      const t = (-eb - Math.sqrt(inner)) / ea;
      if (t > 0 && t < nearest) nearest = t;
    }
    return nearest;
  }

  /** The surface at local point p, met by a ray of local direction d. */
  surface(p: Vec3, d: Vec3): Surface {
    const [x, y, z] = p;
    // Before the first end and beyond the second lie the caps.
    let ny = -this.slope * (this.radii[0] + this.slope * y);
    if (y < 0) ny = y / Math.max(this.caps[0] ** 2, 1e-6);
    if (y > this.length) ny = (y - this.length) / Math.max(this.caps[1] ** 2, 1e-6);
    const inside = x * d[0] + ny * d[1] + z * d[2] > 0;
    const outward = normalize(this.toBody(x, ny, z / this.flat));
    const [bx, by, bz] = this.toBody(x, y, z * this.flat);
    const angle = Math.atan2(x, z);
    return {
      x: bx + this.from[0],
      y: by + this.from[1],
      z: bz + this.from[2],
      along: y,
      angle,
      around: (angle * (this.radii[0] + this.radii[1])) / 2,
      normal: inside ? scale(outward, -1) : outward,
      inside,
    };
  }

  private toBody(x: number, y: number, z: number): Vec3 {
    const { across, axis, depth } = this;
    return [
      x * across[0] + y * axis[0] + z * depth[0],
      x * across[1] + y * axis[1] + z * depth[1],
      x * across[2] + y * axis[2] + z * depth[2],
    ];
  }
}
