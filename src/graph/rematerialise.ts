/** Memory for time: what is cheap to make again is not kept from the forward pass until the backward pass wants it. */
import { apply, type Node, reachable, scope, type Tensor } from "./tensor.js";

/**
 * Most makings in a row that one reader may wait for, as where each map is the one before plus something: a map that
 * would take more is kept, and the next ones start from it. Enough for the longest stage of ResNet-50, whose maps are then
 * all there again while its gradients are made, at a time when later stages need nothing any more.
 */
const LONGEST_CHAIN = 8;

/**
 * Rebuilds the backward pass so that it makes tensors again (`Op.again`) whose inputs are kept anyway, each just before
 * its first reader there. Equal kernels get equal inputs, so the values are the same to the bit.
 * @param outputs what the program computes; these are kept
 * @param loss nodes made after it are the backward pass
 * @returns the new outputs, in order
 */
export function rematerialise(outputs: readonly Tensor[], loss: Tensor): Tensor[] {
  const nodes = reachable(outputs);
  const isLate = (node: Node) => node.id > (loss.node?.id ?? loss.id);
  const late = nodes.filter(isLate);
  const kept = new Set<Tensor>(outputs);
  const readLate = new Set<Tensor>(late.flatMap((node) => node.inputs));

  const chains = new Map<Tensor, number>();
  /** How many makings stand between what is kept and `t`; infinite where it cannot be made again. */
  const chain = (t: Tensor): number => {
    const known = chains.get(t);
    if (known !== undefined) return known;
    const again = t.node?.outputs[0] === t ? t.node.op.again?.(t.node) : undefined;
    let length = Number.POSITIVE_INFINITY;
    if (again && !kept.has(t))
      length = 1 + Math.max(0, ...again.inputs.map((input) => (stays(input) ? 0 : chain(input))));
    if (length > LONGEST_CHAIN) length = Number.POSITIVE_INFINITY;
    chains.set(t, length);
    return length;
  };
  /** Is there in the backward pass without being made again. */
  const stays = (t: Tensor): boolean =>
    t.node === null || kept.has(t) || isLate(t.node) || (readLate.has(t) && chain(t) === Number.POSITIVE_INFINITY);

  const now = new Map<Tensor, Tensor>();
  const current = (t: Tensor): Tensor => {
    const known = now.get(t);
    if (known) return known;
    if (stays(t)) return t;
    const node = t.node!;
    const again = node.op.again!(node);
    const inputs = again.inputs.map(current);
    const made = scope(node.scope, () => again.make(inputs));
    now.set(t, made);
    return made;
  };
  // Everything late is rebuilt, since the numbers of nodes are the order of execution.
  for (const node of late) {
    const inputs = node.inputs.map(current);
    const rebuilt = scope(node.scope, () => apply(node.op, inputs, node.attrs));
    for (const [i, t] of node.outputs.entries()) now.set(t, rebuilt[i]);
  }
  return outputs.map((t) => now.get(t) ?? t);
}
