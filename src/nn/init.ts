/**
 * Initial values. Each tensor draws from a generator of its own, made of the seed and its name: variants of a model that
 * share a tensor start it from the same values, whatever else they have.
 */
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { nameKey, Stream, seededRng } from "../random.js";

/** @param name of the tensor on disk; @param shape on disk: OIHW, [out, in] or [C] */
export type Initializer = (seed: number, name: string, shape: readonly number[]) => Float32Array;

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

export const constantValues =
  (value: number): Initializer =>
  (_seed, _name, shape) =>
    new Float32Array(sizeOf(shape)).fill(value);

/** Normal with a standard deviation that may depend on the shape (Box-Muller). */
function normalValues(deviation: (shape: readonly number[]) => number, mean = 0): Initializer {
  return (seed, name, shape) => {
    const rng = seededRng(seed, Stream.parameters, nameKey(name));
    const std = deviation(shape);
    return Float32Array.from({ length: sizeOf(shape) }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - uniformFloat64(rng)));
      return mean + std * radius * Math.cos(2 * Math.PI * uniformFloat64(rng));
    });
  };
}

export const normal = (std: number, mean = 0) => normalValues(() => std, mean);

/** He et al.: N(0, 2 / fan out), for the backbone's convolutions. */
export const heFanOut: Initializer = normalValues(([out, , kh = 1, kw = 1]) => Math.sqrt(2 / (out * kh * kw)));

/** N(0, 2 / fan in). */
export const heFanIn: Initializer = normalValues(([, channels, kh = 1, kw = 1]) => Math.sqrt(2 / (channels * kh * kw)));

/** U(-1 / sqrt(fan in), 1 / sqrt(fan in)), torch's default, for the heads' weights and biases. */
export const uniformFanIn =
  (fanIn: number): Initializer =>
  (seed, name, shape) => {
    const rng = seededRng(seed, Stream.parameters, nameKey(name));
    const bound = 1 / Math.sqrt(fanIn);
    return Float32Array.from({ length: sizeOf(shape) }, () => bound * (2 * uniformFloat64(rng) - 1));
  };
