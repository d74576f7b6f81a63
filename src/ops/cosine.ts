/** Cosine distances, made of other ops. Norms are clamped to 1e-12, as torch's F.normalize does. */
import { ShapeError, scopeName, type Tensor } from "../graph/tensor.js";
import { mul } from "./arithmetic.js";
import { addScalar, inverseNorm, scale } from "./elementwise.js";
import { matmul } from "./matmul.js";
import { sum } from "./reduce.js";

const LEAST_NORM = 1e-12;

/** Rows divided by their Euclidean norms: [..., D] -> [..., D]. */
export function normalizeRows(x: Tensor): Tensor {
  return mul(x, inverseNorm(sum(mul(x, x), [-1], { keepDims: true }), LEAST_NORM));
}

/**
 * 1 - cos of the angle between each row of a and each row of b.
 * @param a [M, D]
 * @param b [N, D]
 * @returns [M, N]. Throws ShapeError where D differs
 */
export function cosineDistanceMatrix(a: Tensor, b: Tensor): Tensor {
  const unitA = normalizeRows(a);
  const unitB = a === b ? unitA : normalizeRows(b);
  return addScalar(scale(matmul(unitA, unitB, { transposeB: true }), -1), 1);
}

/**
 * 1 - cos of the angle between row i of a and row i of b.
 * @param a [M, D]
 * @param b [M, D]
 * @returns [M]. Throws ShapeError where the shapes differ
 */
export function cosineDistance(a: Tensor, b: Tensor): Tensor {
  if (a.shape.join() !== b.shape.join()) {
    throw new ShapeError(
      scopeName("cosineDistance"),
      `rows are compared pair by pair, so shapes must be equal; got ${a} and ${b}`,
    );
  }
  return addScalar(scale(sum(mul(normalizeRows(a), normalizeRows(b)), [-1]), -1), 1);
}
