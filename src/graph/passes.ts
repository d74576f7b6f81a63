/** Rewrites of a finished graph, before it is lowered. */
import { apply, reachable, scope, type Tensor } from "./tensor.js";

/**
 * Rebuilds the graph of `outputs`, letting each op replace itself by a cheaper equivalent (for instance batch norm in
 * evaluation mode by the epilogue of the convolution before it). What nothing reads any more is simply not rebuilt.
 * @returns the new outputs, in order
 */
export function fuse(outputs: readonly Tensor[]): Tensor[] {
  const nodes = reachable(outputs);
  const counts = new Map<Tensor, number>();
  const count = (t: Tensor) => counts.set(t, (counts.get(t) ?? 0) + 1);
  for (const node of nodes) node.inputs.forEach(count);
  outputs.forEach(count);

  const replaced = new Map<Tensor, Tensor>();
  const original = new Map<Tensor, Tensor>();
  const now = (t: Tensor) => replaced.get(t) ?? t;
  const uses = (t: Tensor) => counts.get(original.get(t) ?? t) ?? 0;
  for (const node of nodes) {
    const inputs = node.inputs.map(now);
    const rebuilt = scope(node.scope, () => {
      const same = inputs.every((t, i) => t === node.inputs[i]);
      const candidate = same ? node.outputs : apply(node.op, inputs, node.attrs);
      const fresh = candidate[0].node!;
      return fresh.op.fuse?.(fresh, uses) ?? candidate;
    });
    node.outputs.forEach((t, i) => {
      replaced.set(t, rebuilt[i]);
      original.set(rebuilt[i], t);
    });
  }
  return outputs.map(now);
}

/**
 * Splits nodes into those that depend on variables and constants only (folded statistics and the like, computed once
 * until the variables change) and the rest.
 */
export function hoist(outputs: readonly Tensor[]): { once: Set<unknown>; values: Tensor[] } {
  const once = new Set<unknown>();
  const values: Tensor[] = [];
  for (const node of reachable(outputs)) {
    const steady = node.inputs.every((t) => (t.node ? once.has(t.node) : t.leaf?.kind !== "input"));
    if (steady && !node.op.updates?.(node).size) {
      once.add(node);
      values.push(...node.outputs);
    }
  }
  return { once, values };
}
