import { accessories } from "./accessories.js";
import { Cone, type ConeShape, type Paint, type Swatch } from "./cone.js";
import { weave } from "./fabric.js";
import { LIP } from "./labels.js";
import type { Person } from "./person.js";
import { type Limbs, type Pose, poseSkeleton, type Skeleton } from "./pose.js";
import { add, mix, scale, type Vec3 } from "./vector.js";

export interface Figure {
  cones: Cone[];
  /** The middle of the body, between ground and crown: where a camera looks. */
  center: Vec3;
}

/** Dresses the posed skeleton of a person: body, clothes, hair and what is carried, as cones in the body frame. */
export function createFigure(person: Person, pose: Pose): Figure {
  const skeleton = poseSkeleton(person, pose);
  const shapes = [
    ...trunk(person, skeleton),
    ...leg(person, skeleton, skeleton.left),
    ...leg(person, skeleton, skeleton.right),
    ...arm(person, skeleton.left),
    ...arm(person, skeleton.right),
    ...head(person, skeleton),
    ...accessories(person, skeleton),
  ];
  return { cones: shapes.map((shape) => new Cone(shape)), center: [0, person.build.height / 2, 0] };
}

const plain = (color: Vec3, label: number): Paint => {
  const swatch: Swatch = { color, label };
  return () => swatch;
};

const sizeOf = (person: Person): number => person.build.height / 1.75;

function upperLabel(person: Person): number {
  const { kind } = person.upper;
  return kind === "dress" ? LIP.dress : kind === "coat" ? LIP.coat : LIP.upperClothes;
}

/** The upper garment on the trunk, with the straps of a bag over it and, in an open coat, what is worn beneath. */
function trunkPaint(person: Person, skeleton: Skeleton): Paint {
  const { upper, bag } = person;
  const cloth = weave(upper.fabric, upperLabel(person));
  const inner: Swatch = { color: upper.inner, label: LIP.upperClothes };
  const strap: Swatch = { color: bag?.color ?? [0, 0, 0], label: LIP.none };
  const hipHeight = skeleton.pelvis[1];
  const size = sizeOf(person);
  return (surface) => {
    const v = (surface.y - hipHeight) / size;
    const front = Math.abs(surface.angle) < Math.PI / 2;
    if (bag?.kind === "backpack" && front && v > 0.22 && Math.abs(Math.abs(surface.x) / size - 0.1) < 0.02)
      return strap;
    if (bag?.kind === "shoulderbag" && Math.abs(surface.x * bag.side + 0.55 * (v - 0.25) * size) < 0.022) return strap;
    if (upper.open && Math.abs(surface.angle) < 0.4) return inner;
    return cloth(surface.around, v, front);
  };
}

function trunk(person: Person, skeleton: Skeleton): ConeShape[] {
  const { build, upper } = person;
  const size = sizeOf(person);
  const width = size * build.girth;
  const { pelvis, waist, shoulders, neck } = skeleton;
  const paint = trunkPaint(person, skeleton);
  const loose = upper.kind === "coat" ? 1.1 : 1;
  const chest = 0.172 * size * build.shoulders * (0.8 + 0.2 * build.girth) * loose;
  const belly = 0.142 * width * loose;
  const crotch = add(pelvis, [0, -0.05 * size, 0]);
  const middle = mix(waist, shoulders, 0.55);
  const hem = add(pelvis, [0, -upper.length * size, 0]);
  const long = upper.length > 0.15;
  const shapes: ConeShape[] = [
    { from: waist, to: middle, radii: [belly, chest], flat: 0.68, caps: [0.3, 0.2], paint },
    {
      from: middle,
      to: add(shoulders, [0, -0.065 * size, 0]),
      radii: [chest, chest * 0.92],
      flat: 0.62,
      caps: [0.2, 0.52],
      paint,
    },
    {
      from: hem,
      to: waist,
      radii: [(long ? 0.21 : 0.185) * width * loose, belly],
      flat: long ? 0.9 : 0.82,
      caps: [0, 0.3],
      paint,
    },
    {
      from: add(shoulders, [0, -0.05 * size, 0]),
      to: mix(shoulders, neck, 0.4),
      radii: [chest * 0.85, 0.055 * size],
      flat: 0.65,
      caps: [0, 0],
      paint,
    },
    {
      from: shoulders,
      to: neck,
      radii: [0.06 * size, 0.052 * size],
      caps: [0.5, 0.5],
      paint: plain(person.skin, LIP.none),
    },
  ];
  if (upper.kind === "dress") return shapes;

  const { lower } = person;
  const wrap = beneathUpper(person, skeleton, lowerPaint(person));
  shapes.push({
    from: crotch,
    to: waist,
    radii: [0.158 * width, belly * 0.93],
    flat: 0.72,
    caps: [0.45, 0.2],
    paint: wrap,
  });
  if (lower.kind === "skirt") {
    const end = add(pelvis, [0, -skirtLength(person), 0]);
    const radii = [0.18 * width * lower.width, belly] as const;
    shapes.push({ from: end, to: waist, radii, flat: 0.88, caps: [0, 0.2], paint: wrap });
  }
  return shapes;
}

const skirtLength = (person: Person): number => 0.38 * sizeOf(person) * person.lower.width;

function lowerPaint(person: Person): Paint {
  const cloth = weave(person.lower.fabric, person.lower.kind === "skirt" ? LIP.skirt : LIP.pants);
  return (surface) => cloth(surface.around, surface.y);
}

/** Hips and thighs that stand out of a garment which covers them look as if it clung to them. */
function beneathUpper(person: Person, skeleton: Skeleton, paint: Paint): Paint {
  const hem = skeleton.pelvis[1] - person.upper.length * sizeOf(person);
  const upper = trunkPaint(person, skeleton);
  return (surface) => (surface.y > hem ? upper(surface) : paint(surface));
}

function beneathSkirt(person: Person, skeleton: Skeleton, paint: Paint): Paint {
  if (person.upper.kind === "dress" || person.lower.kind !== "skirt") return paint;
  const hem = skeleton.pelvis[1] - skirtLength(person);
  const skirt = lowerPaint(person);
  return (surface) => (surface.y > hem ? skirt(surface) : paint(surface));
}

function leg(person: Person, skeleton: Skeleton, limbs: Limbs): ConeShape[] {
  const { lower, upper, shoes } = person;
  const size = sizeOf(person);
  const width = size * (0.7 + 0.3 * person.build.girth);
  const { side, hip, knee, ankle, toe } = limbs;
  const left = side === 1;
  const skin = plain(person.skin, left ? LIP.leftLeg : LIP.rightLeg);
  const thigh = beneathUpper(person, skeleton, beneathSkirt(person, skeleton, skin));
  const shoe = plain(shoes.color, left ? LIP.leftShoe : LIP.rightShoe);
  const shapes: ConeShape[] = [
    { from: hip, to: knee, radii: [0.082 * width, 0.056 * width], paint: thigh },
    { from: knee, to: ankle, radii: [0.056 * width, 0.038 * width], paint: skin },
    { from: add(ankle, [0, -0.012 * size, -0.03 * size]), to: toe, radii: [0.048 * size, 0.036 * size], paint: shoe },
  ];
  if (shoes.boots) {
    shapes.push({ from: mix(knee, ankle, 0.4), to: ankle, radii: [0.058 * width, 0.052 * width], paint: shoe });
  } else if (shoes.socks) {
    const sock = plain(shoes.socks, LIP.socks);
    shapes.push({ from: mix(knee, ankle, 0.65), to: ankle, radii: [0.05 * width, 0.044 * width], paint: sock });
  }
  if (upper.kind === "dress" || lower.kind === "skirt") return shapes;

  const paint = beneathUpper(person, skeleton, lowerPaint(person));
  const loose = width * lower.width;
  if (lower.kind === "shorts") {
    const end = mix(hip, knee, 0.85);
    shapes.push({ from: hip, to: end, radii: [0.094 * width, 0.08 * loose], caps: [1, 0], paint });
  } else {
    const end = mix(knee, ankle, 0.93);
    shapes.push(
      { from: hip, to: knee, radii: [0.09 * width, 0.068 * loose], paint },
      { from: knee, to: end, radii: [0.068 * loose, 0.058 * loose], caps: [1, 0], paint },
    );
  }
  return shapes;
}

function arm(person: Person, limbs: Limbs): ConeShape[] {
  const { upper } = person;
  const size = sizeOf(person);
  const width = size * (0.65 + 0.35 * person.build.girth);
  const { side, shoulder, elbow, hand } = limbs;
  const skin = plain(person.skin, side === 1 ? LIP.leftArm : LIP.rightArm);
  const cloth = weave(upper.fabric, upperLabel(person));
  const paint: Paint = (surface) => cloth(surface.around, surface.along);
  const shapes: ConeShape[] = [
    { from: shoulder, to: elbow, radii: [0.05 * width, 0.04 * width], paint: skin },
    { from: elbow, to: hand, radii: [0.04 * width, 0.03 * width], paint: skin },
    {
      from: hand,
      to: add(hand, scale(add(hand, scale(elbow, -1)), 0.25)),
      radii: [0.04 * size, 0.034 * size],
      paint: skin,
    },
  ];
  const long = upper.kind === "longsleeve" || upper.kind === "coat";
  const loose = width * (upper.kind === "coat" ? 1.2 : 1.05);
  const sleeve = long ? elbow : mix(shoulder, elbow, upper.kind === "dress" ? 0.3 : 0.62);
  shapes.push({
    from: shoulder,
    to: sleeve,
    radii: [0.062 * loose, (long ? 0.05 : 0.06) * loose],
    caps: [1, long ? 1 : 0],
    paint,
  });
  if (long) {
    const cuff = mix(elbow, hand, 0.93);
    shapes.push({ from: elbow, to: cuff, radii: [0.05 * loose, 0.042 * loose], caps: [1, 0], paint });
  }
  return shapes;
}

function head(person: Person, skeleton: Skeleton): ConeShape[] {
  const size = sizeOf(person);
  const { head: center, gaze, trunk: up } = skeleton;
  const at = (rise: number, ahead: number): Vec3 => add(center, add(scale(up, rise * size), scale(gaze, ahead * size)));
  const face: Swatch = { color: person.skin, label: LIP.face };
  const features: Swatch = { color: scale(person.skin, 0.5), label: LIP.face };
  const glasses: Swatch = { color: [0.06, 0.06, 0.07], label: LIP.sunglasses };
  const skull: Paint = ({ along, angle }) => {
    const height = along / size;
    const aside = Math.abs(angle);
    if (person.sunglasses && height > 0.005 && height < 0.045 && aside < 1.2) return glasses;
    const eye = height > 0.012 && height < 0.032 && aside > 0.25 && aside < 0.7;
    const mouth = height > -0.068 && height < -0.055 && aside < 0.3;
    return eye || mouth ? features : face;
  };
  const shapes: ConeShape[] = [
    {
      from: center,
      to: at(0.002, 0),
      radii: [0.077 * size, 0.077 * size],
      flat: 1.2,
      caps: [1.5, 1.45],
      front: gaze,
      paint: skull,
    },
  ];

  const hair = plain(person.hair.color, LIP.hair);
  const dome = (rise: number, ahead: number, radius: number, tall: number): ConeShape => ({
    from: at(rise, ahead),
    to: at(rise + 0.002, ahead),
    radii: [radius * size, radius * size],
    flat: 1.15,
    caps: [tall, tall],
    front: gaze,
    paint: hair,
  });
  const { style } = person.hair;
  if (style !== "bald") shapes.push(dome(0.028, -0.022, style === "bob" ? 0.09 : 0.083, 1.2));
  if (style === "afro") shapes.push(dome(0.055, -0.035, 0.125, 1));
  if (style === "bun") shapes.push(dome(0.06, -0.115, 0.045, 1));
  if (style === "bob") shapes.push(dome(-0.03, -0.035, 0.092, 0.9));
  if (style === "long") {
    const locks = { from: at(0.02, -0.03), to: at(-0.27, -0.085), radii: [0.085 * size, 0.1 * size] as const };
    shapes.push({ ...locks, flat: 0.6, caps: [1, 0.3], front: gaze, paint: hair });
  }
  if (style === "ponytail") {
    shapes.push({ from: at(0.04, -0.1), to: at(-0.2, -0.15), radii: [0.04 * size, 0.022 * size], paint: hair });
  }
  if (person.hat) {
    const hat = plain(person.hat.color, LIP.hat);
    const crown = person.hat.style === "cap" ? 0.85 : 1.15;
    const radii = [0.091 * size, 0.089 * size] as const;
    shapes.push({
      from: at(0.042, -0.004),
      to: at(0.075, -0.006),
      radii,
      flat: 1.17,
      caps: [0, crown],
      front: gaze,
      paint: hat,
    });
    if (person.hat.style === "cap") {
      const brim = { from: at(0.05, 0.07), to: at(0.035, 0.15), radii: [0.075 * size, 0.06 * size] as const };
      shapes.push({ ...brim, flat: 0.15, caps: [0.5, 0.5], front: up, paint: hat });
    }
  }
  return shapes;
}
