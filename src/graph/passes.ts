/** Rewrites of a finished graph, before it is lowered. */
import type { DeviceProfile } from "../gpu/device.js";
import { apply, type Node, reachable, scope, type Tensor } from "./tensor.js";

/**
 * Rebuilds the graph of `outputs`, letting each op replace itself by a cheaper equivalent (for instance batch norm in
 * evaluation mode by the epilogue of the convolution before it). What nothing reads any more is simply not rebuilt.
 * @returns the new outputs, in order
 */
export function fuse(outputs: readonly Tensor[]): Tensor[] {
  return rebuild(outputs, (node, uses) => node.op.fuse?.(node, uses));
}

/** The same with what ops have ready for this adapter, to be hoisted in part. */
export function prepare(outputs: readonly Tensor[], profile: DeviceProfile): Tensor[] {
  return rebuild(outputs, (node) => node.op.prepare?.(node, profile));
}

function rebuild(
  outputs: readonly Tensor[],
  replacement: (node: Node, uses: (t: Tensor) => number) => Tensor[] | null | undefined,
): Tensor[] {
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
      return replacement(candidate[0].node!, uses) ?? candidate;
    });
    node.outputs.forEach((t, i) => {
      replaced.set(t, rebuilt[i]);
      original.set(rebuilt[i], t);
    });
  }
  return outputs.map(now);
}

/**
 * Splits nodes, in order of execution, into those that depend on variables and constants only (folded statistics and the like, computed once
 * until the variables change) and the rest.
 */
export function hoist(nodes: readonly Node[]): { once: Set<unknown>; values: Tensor[] } {
  const once = new Set<unknown>();
  const values: Tensor[] = [];
  for (const node of nodes) {
    const steady = node.inputs.every((t) => (t.node ? once.has(t.node) : t.leaf?.kind !== "input"));
    if (steady && !node.op.updates?.(node).size) {
      once.add(node);
      values.push(...node.outputs);
    }
  }
  return { once, values };
}

/**
 * Moves updates whose outputs nobody reads (steps of an optimiser), and what only they read (gradients side by side), to where
 * they may first run: their inputs are made, and all else that reads the memory that they overwrite has run. So a gradient
 * need not wait for the end.
 */
export function updatesEarly(nodes: readonly Node[]): Node[] {
  const readers = new Map<Tensor, Node[]>();
  for (const node of nodes)
    for (const t of node.inputs) {
      const known = readers.get(t);
      if (known) known.push(node);
      else readers.set(t, [node]);
    }
  const moved = new Set<Node>();
  for (const node of nodes.toReversed()) {
    const readBy = node.outputs.flatMap((t) => readers.get(t) ?? []);
    const updates = (node.op.updates?.(node).size ?? 0) > 0;
    // What reads variables itself stays before those who overwrite them.
    const pure = !updates && node.inputs.every((t) => owner(t).leaf?.kind !== "variable");
    if (updates ? readBy.length === 0 : pure && readBy.length > 0 && readBy.every((reader) => moved.has(reader)))
      moved.add(node);
  }
  const others = nodes.filter((n) => !moved.has(n));
  /** Index of the one of `others` after which a node has run. */
  const done = new Map(others.map((node, i) => [node, i]));
  const after = new Map<number, Node[]>();
  for (const node of nodes.filter((n) => moved.has(n))) {
    const overwritten = [...(node.op.updates?.(node).values() ?? [])].map((i) => node.inputs[i]);
    const reader = others.findLastIndex((n) => n.inputs.some((t) => overwritten.some((o) => overlap(t, o))));
    const at = Math.max(reader, ...node.inputs.map((t) => (t.node && done.get(t.node)) ?? -1));
    done.set(node, at);
    after.set(at, [...(after.get(at) ?? []), node]);
  }
  return [...(after.get(-1) ?? []), ...others.flatMap((node, i) => [node, ...(after.get(i) ?? [])])];
}

/** Whether two tensors share device memory that outlives a program. */
function overlap(a: Tensor, b: Tensor): boolean {
  const [p, q] = [owner(a), owner(b)];
  if (p === q) return true;
  if (p.leaf?.kind !== "variable" || q.leaf?.kind !== "variable" || p.leaf.block !== q.leaf.block) return false;
  const [from, start] = [p.leaf.byteOffset, q.leaf.byteOffset];
  return from < start + q.bytes && start < from + p.bytes;
}

/** The tensor whose memory a view or an update in place shows. */
function owner(t: Tensor): Tensor {
  const { node } = t;
  if (!node) return t;
  const from = node.op.viewOffset ? 0 : node.op.updates?.(node).get(node.outputs.indexOf(t));
  return from === undefined ? t : owner(node.inputs[from]);
}
