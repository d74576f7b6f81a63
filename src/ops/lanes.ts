/** Shared by ops whose invocations take one element, or one vec4 of elements, each (shaders/elem.wgsl). */
import { grid } from "../graph/lowering.js";
import { ShapeError, type Tensor } from "../graph/tensor.js";

/** Invocations per workgroup of every flat kernel. */
const WORKGROUP = 64;

/** Elements per invocation: 4 where all these counts are whole numbers of vec4, else 1. */
export function elemOf(...counts: readonly number[]): 1 | 4 {
  return counts.every((n) => n % 4 === 0) ? 4 : 1;
}

/** The WGSL type of `elem` floats as a tensor stores them; kernels convert it to and from float32. */
export function stored(t: Tensor, elem: 1 | 2 | 4): string {
  const scalar = t.dtype === "f16" ? "f16" : "f32";
  return elem === 1 ? scalar : `vec${elem}<${scalar}>`;
}

/** The WGSL type by which eight neighbours are loaded at once: all eight as halves, or four of them. */
export const storedEights = ({ dtype }: Tensor): string => (dtype === "f16" ? "vec4<u32>" : "vec4<f32>");

/** The names of those tensors that lie in memory as float16. */
export function inHalves<K extends string>(tensors: Readonly<Record<K, Tensor>>): K[] {
  return (Object.keys(tensors) as K[]).filter((name) => tensors[name].dtype === "f16");
}

/** The grid of a flat kernel with this many invocations. */
export function flat(invocations: number): [number, number] {
  return grid(Math.ceil(invocations / WORKGROUP));
}

/** The least power of two that is no less than n. */
export const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** How an axis, or neighbouring axes `first` to `last`, divide a shape: elements before, along and after them. */
export function aroundAxes(shape: readonly number[], first: number, last = first) {
  const product = (part: readonly number[]) => part.reduce((a, b) => a * b, 1);
  return {
    outer: product(shape.slice(0, first)),
    count: product(shape.slice(first, last + 1)),
    inner: product(shape.slice(last + 1)),
  };
}

/** An axis counted from the end when negative. Throws ShapeError where x has no such axis. */
export function axisOf(x: Tensor, axis: number): number {
  const rank = x.shape.length;
  const at = axis < 0 ? rank + axis : axis;
  if (!Number.isInteger(at) || at < 0 || at >= rank) {
    throw new ShapeError(String(x), `axis ${axis} does not exist: axes run from ${-rank} to ${rank - 1}`);
  }
  return at;
}
