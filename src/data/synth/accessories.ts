import type { ConeShape, Paint } from "./cone.js";
import { LIP } from "./labels.js";
import type { Person } from "./person.js";
import type { Skeleton } from "./pose.js";
import { add, mix, scale, type Vec3 } from "./vector.js";

const SIDEWAYS: Vec3 = [1, 0, 0];

/** Scarf and bag. Human parsing knows no bags: they carry label 0 and belong to the segmentation map alone. */
export function accessories(person: Person, skeleton: Skeleton): ConeShape[] {
  const shapes: ConeShape[] = [];
  const size = person.build.height / 1.75;
  if (person.scarf) {
    const swatch = { color: person.scarf, label: LIP.scarf };
    const [low, high] = [mix(skeleton.shoulders, skeleton.neck, -0.1), mix(skeleton.shoulders, skeleton.neck, 0.75)];
    shapes.push({ from: low, to: high, radii: [0.1 * size, 0.078 * size], caps: [0.4, 0.4], paint: () => swatch });
  }
  if (person.bag) shapes.push(...carry(person.bag, person, skeleton, size));
  return shapes;
}

function carry(bag: NonNullable<Person["bag"]>, person: Person, skeleton: Skeleton, size: number): ConeShape[] {
  const cloth = { color: bag.color, label: LIP.none };
  const seam = { color: scale(bag.color, 0.6), label: LIP.none };
  const paint: Paint = ({ along }) => (along > 0.03 && along < 0.05 ? seam : cloth);
  const { pelvis, shoulders, trunk } = skeleton;
  if (bag.kind === "backpack") {
    const behind = -(0.1 + 0.09 * person.build.girth) * size;
    const radii = [0.155 * size, 0.13 * size] as const;
    const bottom = add(mix(pelvis, shoulders, 0.3), [0, 0, behind]);
    const top = add(mix(pelvis, shoulders, 0.85), [0, 0, behind]);
    return [{ from: bottom, to: top, radii, flat: 0.62, caps: [0.45, 0.6], paint }];
  }
  const hip = 0.2 * size * person.build.girth;
  const high =
    bag.kind === "handbag"
      ? add(bag.side === 1 ? skeleton.left.hand : skeleton.right.hand, [0, -0.16 * size, 0])
      : add(pelvis, add(scale(trunk, 0.06 * size), [bag.side * hip, 0, 0]));
  const low = add(high, [0, -0.17 * size, 0]);
  const shapes: ConeShape[] = [
    { from: low, to: high, radii: [0.15 * size, 0.12 * size], flat: 0.4, caps: [0.25, 0.25], front: SIDEWAYS, paint },
  ];
  if (bag.kind === "handbag") {
    const handle = { from: high, to: add(high, [0, 0.14 * size, 0]), radii: [0.07 * size, 0.02 * size] as const };
    shapes.push({ ...handle, flat: 0.2, caps: [0, 0], front: SIDEWAYS, paint });
  }
  return shapes;
}
