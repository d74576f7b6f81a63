import { differentiate } from "../graph/autograd.js";
import { constant, type Tensor } from "../graph/tensor.js";
import { add } from "./arithmetic.js";
import { addInEpilogue } from "./conv2d.js";

const onesLike = (t: Tensor): Tensor => constant(new Float32Array(t.size).fill(1), t.shape, "ones");

/**
 * Gradients of a loss, as tensors of the same graph.
 * @param loss a tensor of one element. Throws ShapeError otherwise
 * @param wrt tensors to differentiate by: variables, inputs or anything between them and the loss
 * @returns for each a tensor of its shape, or null where the loss does not depend on it
 */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): (Tensor | null)[] {
  // Contributions are summed before anybody reads them.
  const sum = (a: Tensor, b: Tensor, shared: ReadonlySet<Tensor>) => addInEpilogue(a, b, shared) ?? add(a, b);
  return differentiate(loss, wrt, { add: sum, onesLike });
}
