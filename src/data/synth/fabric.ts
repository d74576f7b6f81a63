import type { Swatch } from "./cone.js";
import type { Fabric } from "./person.js";

/**
 * Makes the paint of a cloth: a function from its coordinates, in metres around (`u`) and along the body (`v`), to a
 * swatch. Prints and blocks belong to the chest; `onChest` says where that is, and elsewhere the cloth stays plain.
 */
export function weave(fabric: Fabric, label: number): (u: number, v: number, onChest?: boolean) => Swatch {
  const base: Swatch = { color: fabric.color, label };
  const accent: Swatch = { color: fabric.accent, label };
  const { period } = fabric;
  const half = (position: number, share: number) => position / period - Math.floor(position / period) < share;
  switch (fabric.pattern) {
    case "stripes":
      return (_, v) => (half(v, 0.5) ? accent : base);
    case "pinstripes":
      return (u) => (half(u, 0.35) ? accent : base);
    case "checks":
      return (u, v) => (half(u, 0.5) !== half(v, 0.5) ? accent : base);
    case "dots":
      return (u, v) => {
        const shift = half(v / 2, 0.5) ? 0.5 : 0;
        const du = u / period + shift - Math.floor(u / period + shift) - 0.5;
        const dv = v / period - Math.floor(v / period) - 0.5;
        return du * du + dv * dv < 0.1 ? accent : base;
      };
    case "logo":
      return (u, v, onChest) => (onChest && Math.abs(u) < 0.085 && v > 0.26 && v < 0.42 ? accent : base);
    case "block":
      return (_, v, onChest) => (onChest && v > 0.3 ? accent : base);
    default:
      return () => base;
  }
}
