import type { Random } from "./random.js";
import { clamp } from "./vector.js";
import type { Box } from "./view.js";

/** Air that a careful annotator leaves around a person, as a share of the height. */
const MARGIN = 0.04;

/**
 * The box that a person detector would give for a body's exact box: of the picture's aspect (width over height) or
 * wider, a little shifted and stretched, and now and then plainly wrong as in Fig. 1 of the paper: too large, head or
 * legs cut off, or beside the person. `strength` 0 gives exact boxes, 1 about those of Market-1501; it scales both the
 * amount and the frequency.
 */
export function detect(body: Box, aspect: number, strength: number, random: Random): Box {
  const height = body.top - body.bottom;
  let x = (body.left + body.right) / 2;
  let top = body.top + MARGIN * height;
  let bottom = body.bottom - MARGIN * height;
  // Wide strides are squeezed into the picture rather than cut.
  let width = Math.max((top - bottom) * aspect, 0.97 * (body.right - body.left));

  const slip = (deviation: number) => clamp(random.normal(0, deviation * strength), -0.5, 0.5);
  x += slip(0.05) * width;
  const lift = slip(0.025) * height;
  top += lift + slip(0.02) * height;
  bottom += lift + slip(0.02) * height;
  width *= Math.exp(slip(0.06));

  if (!random.chance(Math.min(0.9, 0.45 * strength))) return { left: x - width / 2, right: x + width / 2, top, bottom };
  const amount = Math.min(1.5, strength) * random.between(0.4, 1);
  const tall = top - bottom;
  switch (random.weighted({ large: 3, head: 1.5, legs: 2, vertical: 2, sideways: 1.5 })) {
    case "large": {
      const extra = 0.7 * amount;
      const above = random.unit();
      top += extra * above * tall;
      bottom -= extra * (1 - above) * tall;
      x += random.between(-0.4, 0.4) * extra * width;
      width *= 1 + extra;
      break;
    }
    case "head":
      top -= 0.22 * amount * tall;
      width *= 1 - 0.1 * amount;
      break;
    case "legs":
      bottom += 0.45 * amount * tall;
      width *= 1 - 0.25 * amount;
      break;
    case "vertical": {
      const shift = (random.chance(0.5) ? 1 : -1) * 0.22 * amount * tall;
      top += shift;
      bottom += shift;
      break;
    }
    case "sideways":
      x += (random.chance(0.5) ? 1 : -1) * 0.3 * amount * width;
      break;
  }
  return { left: x - width / 2, right: x + width / 2, top, bottom };
}
