/** Float64 references of ops that move, combine and reduce elements. Plain, and independent of the engine. */
import type { Shape } from "#src/graph/tensor.js";

type Values = ArrayLike<number>;

const count = (shape: Shape) => shape.reduce((a, b) => a * b, 1);

/** The index along each axis of a position. */
export function unravel(at: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = at % shape[axis];
    at = Math.floor(at / shape[axis]);
  }
  return index;
}

export function ravel(index: readonly number[], shape: Shape): number {
  return index.reduce((at, i, axis) => at * shape[axis] + i, 0);
}

function mapIndex(shape: Shape, value: (index: number[]) => number): Float64Array {
  return Float64Array.from({ length: count(shape) }, (_, at) => value(unravel(at, shape)));
}

/** The element that a broadcast operand has at an index of the result. */
function broadcast(values: Values, shape: Shape, index: readonly number[]): number {
  const own = index.slice(index.length - shape.length).map((i, axis) => (shape[axis] === 1 ? 0 : i));
  return values[ravel(own, shape)];
}

export function binary(
  a: Values,
  aShape: Shape,
  b: Values,
  bShape: Shape,
  shape: Shape,
  f: (a: number, b: number) => number,
): Float64Array {
  return mapIndex(shape, (index) => f(broadcast(a, aShape, index), broadcast(b, bShape, index)));
}

export function slice(x: Values, shape: Shape, axis: number, start: number, end: number): Float64Array {
  const out = shape.with(axis, end - start);
  return mapIndex(out, (index) => x[ravel(index.with(axis, index[axis] + start), shape)]);
}

export function concat(parts: readonly { values: Values; shape: Shape }[], axis: number): Float64Array {
  const total = parts.reduce((sum, p) => sum + p.shape[axis], 0);
  return mapIndex(parts[0].shape.with(axis, total), (index) => {
    let at = index[axis];
    let part = 0;
    while (at >= parts[part].shape[axis]) at -= parts[part++].shape[axis];
    return parts[part].values[ravel(index.with(axis, at), parts[part].shape)];
  });
}

/** Reduces axes to 1; `f` gets all elements of a group in order. */
export function reduce(x: Values, shape: Shape, axes: readonly number[], f: (group: number[]) => number): Float64Array {
  const kept = shape.map((d, axis) => (axes.includes(axis) ? 1 : d));
  const groups: number[][] = Array.from({ length: count(kept) }, () => []);
  for (let at = 0; at < x.length; at++) {
    const index = unravel(at, shape).map((i, axis) => (axes.includes(axis) ? 0 : i));
    groups[ravel(index, kept)].push(x[at]);
  }
  return Float64Array.from(groups, f);
}

/** [batch, rows, depth] x [batch, depth, columns], each matrix optionally stored transposed. */
export function matmul(
  a: Values,
  b: Values,
  [batch, rows, depth, columns]: readonly [number, number, number, number],
  transposeA = false,
  transposeB = false,
): Float64Array {
  const c = new Float64Array(batch * rows * columns);
  for (let z = 0; z < batch; z++) {
    for (let m = 0; m < rows; m++) {
      for (let n = 0; n < columns; n++) {
        let total = 0;
        for (let k = 0; k < depth; k++) {
          const left = z * rows * depth + (transposeA ? k * rows + m : m * depth + k);
          const right = z * depth * columns + (transposeB ? n * depth + k : k * columns + n);
          total += a[left] * b[right];
        }
        c[(z * rows + m) * columns + n] = total;
      }
    }
  }
  return c;
}
