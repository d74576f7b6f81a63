/** Reverse-mode differentiation as a graph transformation: gradients are tensors like any other. */
import { reachable, ShapeError, type Tensor } from "./tensor.js";

export interface GradientOps {
  /** @param shared tensors that are the gradients of several others, which need them as they are */
  add(a: Tensor, b: Tensor, shared: ReadonlySet<Tensor>): Tensor;
  onesLike(t: Tensor): Tensor;
}

/**
 * Gradients of a scalar with respect to tensors.
 * @param loss a tensor of one element
 * @param wrt tensors to differentiate by; null is returned for one that the loss does not depend on
 */
export function differentiate(loss: Tensor, wrt: readonly Tensor[], ops: GradientOps): (Tensor | null)[] {
  if (loss.size !== 1) throw new ShapeError(String(loss), "only a loss of one element can be differentiated");
  const nodes = reachable([loss]);

  // Only nodes between `wrt` and the loss take part, so that no gradient of an image is ever computed unasked.
  const wanted = new Set<Tensor>(wrt);
  const active = nodes.filter((node) => {
    const depends = node.inputs.some((t) => wanted.has(t));
    if (depends) for (const t of node.outputs) wanted.add(t);
    return depends;
  });

  const grads = new Map<Tensor, Tensor>([[loss, ops.onesLike(loss)]]);
  const shared = new Set<Tensor>();
  for (const node of active.reverse()) {
    const incoming = node.outputs.map((t) => grads.get(t) ?? null);
    if (!node.op.gradient || incoming.every((g) => g === null)) continue;
    const contributions = node.op.gradient(node, incoming).map((g, i) => (wanted.has(node.inputs[i]) ? g : null));
    contributions.forEach((g, i) => {
      if (g && contributions.indexOf(g) < i) shared.add(g);
    });
    // Weights come after the maps: their gradients' sums are made first, which need not outlive the next map's.
    for (let i = node.inputs.length - 1; i >= 0; i--) {
      const [t, g] = [node.inputs[i], contributions[i]];
      if (!g) continue;
      if (g.shape.join() !== t.shape.join()) {
        throw new ShapeError(`gradient of ${node.op.name}`, `input ${i} is ${t}, its gradient ${g}`);
      }
      const before = grads.get(t);
      grads.set(t, before ? ops.add(before, g, shared) : g);
    }
  }
  return wrt.map((t) => grads.get(t) ?? null);
}
