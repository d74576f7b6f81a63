/** Loss scaling without reading anything back: a step whose gradients are not finite is found, and skipped, on the GPU. */
import { grid } from "../graph/lowering.js";
import { apply, constant, type Op, type Tensor } from "../graph/tensor.js";
import { flat } from "./lanes.js";
import { sum } from "./reduce.js";

/** Floats between the places where parameters may begin. */
const BLOCK = 64;
/** Counts of what is not finite in one flat tensor: by invocations, or on GPUs by workgroups. */
const COUNTERS = 1024;

/** Inputs: flat gradients, then as many tensors that say how much of each block counts; output: partial counts. */
const nonFiniteOp: Op<null> = {
  name: "nonFinite",
  outputs: (inputs) => [{ shape: [(inputs.length / 2) * COUNTERS] }],
  lower({ inputs, outputs: [counts] }, to) {
    const groups = inputs.length / 2;
    const shared = !to.profile.software;
    for (let i = 0; i < groups; i++) {
      const [grads, lengths] = [inputs[i], inputs[groups + i]];
      const part = to.scratch("counts", [COUNTERS]);
      to.place(part, counts, 4 * COUNTERS * i);
      to.dispatch({
        kernel: { shader: "count_non_finite", defines: { SHARED: shared } },
        bindings: { grads, lengths, counts: part },
        params: { vectors: grads.size / 4, counters: COUNTERS },
        workgroups: shared ? grid(COUNTERS) : flat(COUNTERS),
        bytes: grads.bytes,
      });
    }
  },
};

export interface LossScaling {
  /** A power of two, so that scaling rounds nothing. */
  readonly initial: number;
  /** Whether it follows the gradients: halved by a step that overflows, doubled by `interval` that do not. */
  readonly dynamic: boolean;
  /** 2000 by default. */
  readonly interval?: number;
}

/** Beyond it the largest gradients that float16 can tell apart from 0 need no more help. */
const LARGEST_SCALE = 2 ** 24;

/** Inputs: state, number of gradients that are not finite; outputs: the next state, over the old one, and the gate for SGD. */
const lossScaleOp: Op<LossScaling> = {
  name: "lossScale",
  outputs: ([state]) => [{ shape: state.shape }, { shape: [1] }],
  updates: () => new Map([[0, 0]]),
  lower({ inputs: [, bad], outputs: [state, gate], attrs: { dynamic, interval = 2000 } }, to) {
    to.dispatch({
      kernel: { shader: "loss_scale" },
      bindings: { bad, state, gate },
      params: { changes: Number(dynamic), interval, most: LARGEST_SCALE },
      workgroups: [1],
    });
  },
};

/** Gradients as `pack` lays them out: the flat tensor, and where in it, in floats, each of them lies. */
export interface Packed {
  readonly flat: Tensor;
  readonly parts: readonly { readonly start: number; readonly size: number }[];
}

/**
 * Decides about a step from all its gradients.
 * @param state [4]: the loss scale they were made with, good steps in a row, steps skipped, steps skipped in a row
 * @returns the state to go on with, to be handed to `Program.compile` as an update, and what `sgd` multiplies gradients by
 */
export function lossScale(
  state: Tensor,
  grads: readonly Packed[],
  scaling: LossScaling,
): { state: Tensor; gate: Tensor } {
  const lengths = grads.map(({ flat: { size }, parts }) => {
    const counted = new Uint32Array(Math.ceil(size / BLOCK));
    for (const { start, size: floats } of parts) {
      for (let at = 0; at < floats; at += BLOCK) counted[(start + at) / BLOCK] = Math.min(BLOCK, floats - at);
    }
    return constant(counted, [counted.length], "counted");
  });
  const [counts] = apply(nonFiniteOp, [...grads.map((g) => g.flat), ...lengths], null);
  const [next, gate] = apply(lossScaleOp, [state, sum(counts)], scaling);
  return { state: next, gate };
}
