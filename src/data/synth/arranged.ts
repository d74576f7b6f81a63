/** People whom nothing tells apart but which part of the body wears which colour. */
import { drawBuild, type Person } from "./person.js";
import { Random } from "./random.js";
import type { Vec3 } from "./vector.js";

/** White, black, red, blue, yellow, green: those of everybody's clothes. */
const COLORS: readonly Vec3[] = [
  [0.91, 0.9, 0.88],
  [0.11, 0.11, 0.13],
  [0.72, 0.14, 0.17],
  [0.16, 0.29, 0.62],
  [0.88, 0.73, 0.2],
  [0.15, 0.45, 0.25],
];
const SKIN: Vec3 = [0.79, 0.6, 0.45];
const HAIR: Vec3 = [0.17, 0.11, 0.07];

/** Four colours in an order, for hat, upper garment, trousers and boots: one for each person. */
const ARRANGEMENTS = COLORS.flatMap((_, hat) =>
  COLORS.flatMap((_, upper) =>
    COLORS.flatMap((_, lower) => COLORS.map((_, boots) => [hat, upper, lower, boots] as const)),
  ),
).filter((parts) => new Set(parts).size === parts.length);

/** People that a dataset may have; the arrangements left over are those of people whom no query shows. */
export const ARRANGED_PEOPLE = 300;

/**
 * Person number `index` of the world that `seed` names. A person shares the same four colours with 23 others, and each
 * part's colour with 59: the mean colour of a picture, and what a picture holds anywhere, say little.
 * @param index below `ARRANGED_PEOPLE` for the people of a dataset; anything above for others
 */
export function arrangedPerson(seed: number, index: number): Person {
  const order = shuffled(ARRANGEMENTS.length, new Random(seed, "arrangements"));
  const others = ARRANGEMENTS.length - ARRANGED_PEOPLE;
  const place = index < ARRANGED_PEOPLE ? index : ARRANGED_PEOPLE + (index % others);
  const [hat, upper, lower, boots] = ARRANGEMENTS[order[place]].map((color) => COLORS[color]);
  const cloth = (color: Vec3) => ({ color, accent: color, pattern: "plain" as const, period: 0.1 });
  return {
    build: drawBuild(new Random(seed, "person", index)),
    skin: SKIN,
    hair: { style: "short", color: HAIR },
    hat: { style: "beanie", color: hat },
    sunglasses: false,
    upper: { kind: "longsleeve", fabric: cloth(upper), length: 0.08, open: false, inner: upper },
    lower: { kind: "trousers", fabric: cloth(lower), width: 1.1 },
    shoes: { color: boots, boots: true },
  };
}

/** 0 to n - 1 in random order (Fisher-Yates). */
function shuffled(n: number, random: Random): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
