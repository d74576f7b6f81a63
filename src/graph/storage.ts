/**
 * Storage in half precision: feature maps and their gradients lie in memory as float16, which halves the bytes that are
 * kept and moved, while every kernel goes on computing, and adding up, in float32. Parameters, momenta, statistics, pooled
 * features and losses stay float32.
 */
import { UserError } from "../errors.js";
import type { Device, DeviceProfile } from "../gpu/device.js";
import { BINDING_ALIGNMENT, grid } from "./lowering.js";
import { apply, type DType, type Op, reachable, type Shape, scope, type Tensor } from "./tensor.js";

/** How feature maps and their gradients are stored; everything is computed in float32. */
export const PRECISIONS = ["float32", "float16"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** @throws UserError where the adapter cannot store float16 */
export function requireHalves(device: Device): void {
  if (device.gpu.features.has("shader-f16")) return;
  throw new UserError(
    `The adapter ${device.profile.name} cannot store float16: it lacks the feature shader-f16. Use precision float32 on it.`,
  );
}

/** Stores the same numbers in the other width; to f16, rounded to the nearest. */
export const castOp: Op<Extract<DType, "f16" | "f32">> = {
  name: "cast",
  outputs: ([x], dtype) => [{ shape: x.shape, dtype }],
  gradient: (_, [dy]) => [dy],
  halves: { inputs: [0], outputs: [] },
  lower({ inputs: [x], outputs: [y] }, to) {
    const vectors = Math.ceil(x.size / 4);
    const type = (t: Tensor) => `vec4<${t.dtype}>`;
    to.dispatch({
      kernel: { shader: "cast", defines: { X: type(x), Y: type(y) } },
      bindings: { x, y },
      params: { vectors },
      workgroups: grid(Math.ceil(vectors / 64)),
      bytes: x.bytes + y.bytes,
    });
  },
};

/** What is worth storing in halves: an NHWC map of more than one position. */
const isMap = (shape: Shape) => shape.length === 4 && shape[1] * shape[2] > 1;

/**
 * Rebuilds the graph with maps in float16, wherever the op that makes one can write it so (`Op.halves`). An op that cannot
 * read it so gets a float32 copy, and so does whoever reads an output of the program.
 * @returns the new outputs, in order
 */
export function storeHalves(outputs: readonly Tensor[]): Tensor[] {
  const now = new Map<Tensor, Tensor>();
  const copies = new Map<Tensor, Tensor>();
  const current = (t: Tensor) => now.get(t) ?? t;
  const widened = (t: Tensor): Tensor => {
    if (t.dtype !== "f16") return t;
    const copy = copies.get(t) ?? scope(t.node!.scope, () => apply(castOp, [t], "f32")[0]);
    copies.set(t, copy);
    return copy;
  };
  // Everything is rebuilt, since the numbers of nodes are the order of execution.
  for (const node of reachable(outputs)) {
    const { op, attrs } = node;
    const inputs = node.inputs.map(current);
    const makesMaps = !op.halves?.follow || inputs.some((t) => t.dtype === "f16");
    const narrow = (i: number, shape: Shape) => makesMaps && isMap(shape) && !!op.halves?.outputs.includes(i);
    const build = (from: readonly Tensor[]) => scope(node.scope, () => apply(op, from, attrs, narrow));
    let rebuilt: Tensor[];
    if (op.viewOffset) {
      // A view has its owner's width, and its place in bytes depends on that.
      rebuilt = build(inputs);
      if (op.viewOffset(rebuilt[0].node!) % BINDING_ALIGNMENT !== 0) rebuilt = build(inputs.map(widened));
    } else rebuilt = build(inputs.map((t, i) => (op.halves?.inputs.includes(i) ? t : widened(t))));
    for (const [i, t] of node.outputs.entries()) now.set(t, rebuilt[i]);
  }
  return outputs.map((t) => widened(current(t)));
}

/**
 * Rebuilds the graph with float16 copies of the variables that kernels round to halves as they load them (`Op.rounds`), one for all that
 * read them: half of the bytes of what is loaded for every tile. No bit of any result changes.
 * @returns the new outputs, in order
 */
export function storeRounded(outputs: readonly Tensor[], profile: DeviceProfile): Tensor[] {
  if (profile.matrixUnits?.components !== "f16") return [...outputs];
  const now = new Map<Tensor, Tensor>();
  const copies = new Map<Tensor, Tensor>();
  const current = (t: Tensor) => now.get(t) ?? t;
  const rounded = (t: Tensor): Tensor => {
    const copy = copies.get(t) ?? apply(castOp, [t], "f16")[0];
    copies.set(t, copy);
    return copy;
  };
  for (const node of reachable(outputs, profile)) {
    const { op, attrs } = node;
    const wanted = new Set(op.rounds?.(node, profile).filter((i) => node.inputs[i].leaf?.kind === "variable"));
    const [...rebuilt] = scope(node.scope, () => {
      const inputs = node.inputs.map((t, i) => (wanted.has(i) ? rounded(t) : current(t)));
      return apply(op, inputs, attrs, (i) => node.outputs[i].dtype === "f16");
    });
    for (const [i, t] of node.outputs.entries()) now.set(t, rebuilt[i]);
  }
  return outputs.map(current);
}
