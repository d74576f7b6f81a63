import { BINDING_ALIGNMENT, grid } from "../graph/lowering.js";
import { resolve } from "../graph/plan.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";

/** Lays tensors side by side in one; those that can be are made in place, the others copied. */
const packOp: Op<{ readonly byteOffsets: readonly number[]; readonly size: number }> = {
  name: "pack",
  outputs: (_, { size }) => [{ shape: [size] }],
  lower({ inputs, outputs: [flat], attrs }, to) {
    const owners = inputs.map((t) => resolve(t, to.placed).root);
    inputs.forEach((t, i) => {
      const once = owners.indexOf(owners[i]) === owners.lastIndexOf(owners[i]);
      if (once && to.place(t, flat, attrs.byteOffsets[i])) return;
      const range = to.scratch("range", t.shape);
      to.place(range, flat, attrs.byteOffsets[i]);
      to.dispatch({
        kernel: { shader: "sum_partials", defines: { SHARE: 0, AHEAD: false } },
        bindings: { partial: t, y: range },
        params: { size: Math.ceil(t.size / 4), splits: 1 },
        workgroups: grid(Math.ceil(t.size / 256)),
        bytes: 2 * t.bytes,
      });
    });
  },
};

/** Inputs: weights, momenta, gradients (all flat, laid out alike), hyper, gate?; overwrites the first two. */
const sgdOp: Op<readonly RateRange[]> = {
  name: "sgd",
  outputs([weights, momenta, grads], ranges) {
    if (weights.size !== momenta.size || weights.size !== grads.size)
      throw new Error("flat buffers of different sizes");
    if (ranges.at(-1)?.end !== weights.size) throw new Error(`the ranges must end at ${weights.size} floats`);
    return [{ shape: weights.shape }, { shape: momenta.shape }];
  },
  updates: () =>
    new Map([
      [0, 0],
      [1, 1],
    ]),
  lower({ inputs: [, , grads, hyper, gate], outputs: [weights, momenta], attrs: ranges }, to) {
    // A dispatch for each range, or as many as it takes where the adapter cannot bind so much at once.
    const most = Math.floor(to.profile.maxBindingBytes / BINDING_ALIGNMENT) * (BINDING_ALIGNMENT / 4);
    const pieces = ranges.flatMap(({ end, factor }, i) => {
      const from = i === 0 ? 0 : ranges[i - 1].end;
      return Array.from({ length: Math.ceil((end - from) / most) }, (_, k) => {
        const start = from + k * most;
        return { start, count: Math.min(most, end - start), factor };
      });
    });
    for (const { start, count, factor } of pieces) {
      const range = (t: Tensor, name: string) => {
        if (count === t.size) return t;
        const part = to.scratch(name, [count]);
        to.place(part, t, 4 * start);
        return part;
      };
      const size = Math.ceil(count / 4);
      to.dispatch({
        kernel: { shader: "sgd", defines: { GATED: gate !== undefined } },
        bindings: {
          weights: range(weights, "weights"),
          momenta: range(momenta, "momenta"),
          grads: range(grads, "grads"),
          hyper,
          gate,
        },
        params: { size, factor },
        workgroups: grid(Math.ceil(size / 64)),
        bytes: 20 * count,
      });
    }
  },
};

/**
 * Lays gradients side by side as the parameters lie in their flat buffer.
 * @param tensors with the byte offset of each
 * @param size of the result, in floats
 */
export function pack(tensors: readonly Tensor[], byteOffsets: readonly number[], size: number): Tensor {
  return apply(packOp, tensors, { byteOffsets, size })[0];
}

/** A part of the flat buffers that learns at a rate of its own. */
export interface RateRange {
  /** Where it ends, in floats, a multiple of 64; it starts where the one before it ends. */
  readonly end: number;
  /** Factor of the learning rate. */
  readonly factor: number;
}

/**
 * One step of SGD with momentum, weight decay and Nesterov, as torch's, over whole flat buffers.
 * @param hyper [4]: learning rate, momentum, weight decay, Nesterov (0 or 1)
 * @param ranges parameter groups in order, the last one ending with the buffers; one of factor 1 by default
 * @param gate [1], what gradients are multiplied by, 0 to leave everything as it is; see `lossScale`
 * @returns the updates to hand to `Program.compile`
 */
export function sgd(
  weights: Tensor,
  momenta: Tensor,
  grads: Tensor,
  hyper: Tensor,
  ranges: readonly RateRange[] = [{ end: weights.size, factor: 1 }],
  gate?: Tensor,
): Tensor[] {
  return apply(sgdOp, [weights, momenta, grads, hyper, ...(gate ? [gate] : [])], ranges);
}
