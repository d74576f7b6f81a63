import { Random } from "./random.js";
import { clamp, type Vec3 } from "./vector.js";

/** How a cloth is coloured: `accent` is the colour of its stripes, dots or print, `period` their size in metres. */
export interface Fabric {
  color: Vec3;
  accent: Vec3;
  pattern: keyof typeof PATTERNS;
  period: number;
}

/** Everything about a person that stays the same from picture to picture. */
export interface Person {
  /** Metres; `shoulders` and `girth` are factors on an average body. */
  build: { height: number; shoulders: number; girth: number; legs: number };
  skin: Vec3;
  hair: { style: keyof typeof HAIR_STYLES; color: Vec3 };
  hat?: { style: "cap" | "beanie"; color: Vec3 };
  sunglasses: boolean;
  scarf?: Vec3;
  /** `length` is how far below the hip joint the garment ends, in metres. */
  upper: { kind: keyof typeof UPPER_KINDS; fabric: Fabric; length: number; open: boolean; inner: Vec3 };
  lower: { kind: keyof typeof LOWER_KINDS; fabric: Fabric; width: number };
  shoes: { color: Vec3; boots: boolean; socks?: Vec3 };
  bag?: { kind: keyof typeof BAG_KINDS; color: Vec3; side: 1 | -1 };
}

const hex = (code: number): Vec3 => [(code >> 16) / 255, ((code >> 8) & 255) / 255, (code & 255) / 255];

const UPPER_COLORS = [
  0xe9e7e2, 0x23242a, 0x84878c, 0xb3282d, 0x2b4a8c, 0x7fa8d8, 0x2f6d46, 0xe0b93a, 0xd9772b, 0x6d3f86, 0xe59ab4,
  0x7a5236, 0xcdbd9a, 0x1f6f78,
].map(hex);
const LOWER_COLORS = [0x22242b, 0x2d3d63, 0x5f7fae, 0x75777b, 0xb9a47c, 0x5b4330, 0x4b5a38, 0xe2dfd6, 0x8c2b35].map(
  hex,
);
const SHOE_COLORS = [0x1b1b1d, 0xe8e6e1, 0x6b4429, 0xa32a2a, 0x3a5fa5, 0x8a8c8f, 0xd8b13c].map(hex);
const BAG_COLORS = [0x1d1d21, 0x7b4a2b, 0xa3282e, 0x2a4f91, 0x4b6b3c, 0xd2c3a1, 0xd9772b].map(hex);
const HAIR_COLORS = [0x17130f, 0x2b1c12, 0x4f331d, 0x8a6a3c, 0xc9a866, 0x8d8d8d, 0x7a2f1a].map(hex);
const SKIN_COLORS = [0xf0cdb4, 0xe3b795, 0xc9956d, 0xa5714a, 0x7a4e31, 0x543421].map(hex);

const PATTERNS = { plain: 5, stripes: 2, pinstripes: 1, checks: 1.5, dots: 1, logo: 2, block: 1.5 };
const HAIR_STYLES = { short: 4, long: 3, ponytail: 1.5, bun: 1, bob: 1.5, bald: 0.7, afro: 0.6 };
const UPPER_KINDS = { tshirt: 4, longsleeve: 3, coat: 2.2, dress: 1.3 };
const LOWER_KINDS = { trousers: 5, shorts: 2, skirt: 1.6 };
const BAG_KINDS = { backpack: 3, handbag: 2, shoulderbag: 2 };

type Outfit = Pick<Person, "upper" | "lower" | "shoes" | "bag">;

/**
 * Person number `index` of the world that `seed` names. People come in families of three who share an outfit and
 * differ in some of it: the second has another pattern, shoes and bag, the third wears the two colours the other way
 * round (so that the mean colour of the picture says little). Body, skin, hair and headgear are each person's own.
 */
export function createPerson(seed: number, index: number): Person {
  const own = new Random(seed, "person", index);
  const outfit = drawOutfit(new Random(seed, "family", Math.floor(index / 3)));
  if (index % 3 === 1) varyDetails(outfit, own);
  if (index % 3 === 2) swapColors(outfit, own);
  const feminine = outfit.upper.kind === "dress" || outfit.lower.kind === "skirt";
  const style = own.weighted(feminine ? { ...HAIR_STYLES, long: 8, bald: 0 } : HAIR_STYLES);
  return {
    ...outfit,
    build: drawBuild(own),
    skin: jitter(own.pick(SKIN_COLORS), own, 0.02),
    hair: { style, color: jitter(own.pick(HAIR_COLORS), own, 0.02) },
    hat: own.chance(0.16)
      ? { style: own.pick(["cap", "beanie"] as const), color: own.pick([...UPPER_COLORS, ...BAG_COLORS]) }
      : undefined,
    sunglasses: own.chance(0.1),
    scarf: outfit.upper.kind === "coat" && own.chance(0.3) ? own.pick(UPPER_COLORS) : undefined,
  };
}

export function drawBuild(random: Random): Person["build"] {
  return {
    height: clamp(random.normal(1.71, 0.09), 1.48, 1.96),
    shoulders: clamp(random.normal(1, 0.07), 0.85, 1.17),
    girth: clamp(random.normal(1.02, 0.14), 0.8, 1.45),
    legs: clamp(random.normal(1, 0.04), 0.92, 1.08),
  };
}

function drawOutfit(random: Random): Outfit {
  const kind = random.weighted(UPPER_KINDS);
  const lengths = { tshirt: [0.03, 0.1], longsleeve: [0.03, 0.12], coat: [0.08, 0.48], dress: [0.3, 0.55] } as const;
  const boots = random.chance(0.2);
  return {
    upper: {
      kind,
      fabric: drawFabric(random, UPPER_COLORS, random.weighted(PATTERNS)),
      length: random.between(lengths[kind][0], lengths[kind][1]),
      open: kind === "coat" && random.chance(0.6),
      inner: random.pick(UPPER_COLORS),
    },
    lower: {
      kind: random.weighted(LOWER_KINDS),
      fabric: drawFabric(random, LOWER_COLORS, random.weighted({ plain: 8, pinstripes: 1, checks: 1 })),
      width: random.between(0.9, 1.35),
    },
    shoes: {
      color: random.pick(SHOE_COLORS),
      boots,
      socks: !boots && random.chance(0.4) ? random.pick([...SHOE_COLORS, ...UPPER_COLORS]) : undefined,
    },
    bag: drawBag(random),
  };
}

function drawBag(random: Random): Person["bag"] {
  if (random.chance(0.4)) return undefined;
  return { kind: random.weighted(BAG_KINDS), color: random.pick(BAG_COLORS), side: random.chance(0.5) ? 1 : -1 };
}

function drawFabric(random: Random, colors: readonly Vec3[], pattern: Fabric["pattern"]): Fabric {
  const color = jitter(random.pick(colors), random, 0.03);
  const contrasting = colors.filter((other) => Math.hypot(...other.map((v, i) => v - color[i])) > 0.35);
  return { color, accent: random.pick(contrasting), pattern, period: random.between(0.07, 0.16) };
}

function varyDetails(outfit: Outfit, random: Random): void {
  const others = Object.keys(PATTERNS).filter((name) => name !== outfit.upper.fabric.pattern) as Fabric["pattern"][];
  outfit.upper.fabric = { ...outfit.upper.fabric, pattern: random.pick(others) };
  outfit.shoes = { ...outfit.shoes, color: random.pick(SHOE_COLORS.filter((c) => c !== outfit.shoes.color)) };
  outfit.bag = outfit.bag ? undefined : (drawBag(random) ?? { kind: "backpack", color: BAG_COLORS[0], side: 1 });
}

function swapColors(outfit: Outfit, random: Random): void {
  const [top, bottom] = [outfit.upper.fabric, outfit.lower.fabric];
  outfit.upper.fabric = { ...top, color: bottom.color };
  outfit.lower.fabric = { ...bottom, color: top.color };
  // A dress hides the lower garment, so its wearer would have no second colour to swap with.
  if (outfit.upper.kind === "dress") outfit.upper = { ...outfit.upper, kind: "longsleeve", length: 0.08 };
  outfit.shoes = { ...outfit.shoes, color: random.pick(SHOE_COLORS) };
}

function jitter(color: Vec3, random: Random, amount: number): Vec3 {
  const moved = () => random.between(-amount, amount);
  return [clamp(color[0] + moved(), 0, 1), clamp(color[1] + moved(), 0, 1), clamp(color[2] + moved(), 0, 1)];
}
