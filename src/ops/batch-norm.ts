/** Batch normalisation with its own gradient, in both modes, with ReLU and the residual sum of a bottleneck fused. */
import type { DeviceProfile } from "../gpu/device.js";
import type { Defines } from "../gpu/shader.js";
import type { Lowering, Moments } from "../graph/lowering.js";
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { expectShape } from "./check.js";
import { conv2dOp } from "./conv2d.js";
import { powerOfTwo, stored } from "./lanes.js";

export interface BatchNormAttrs {
  readonly training: boolean;
  readonly relu: boolean;
  readonly residual: boolean;
  readonly eps: number;
  readonly momentum: number;
}

/** Inputs: x, gamma, beta, running mean, running var, residual?; outputs: y, stats, and in training the moved running ones. */
const batchNormOp: Op<BatchNormAttrs> = {
  name: "batchNorm",
  halves: { inputs: [0, 5], outputs: [0] },
  outputs([x, gamma, beta, mean, variance, residual], { training }) {
    const channels = x.shape[x.shape.length - 1];
    for (const t of [gamma, beta, mean, variance]) expectShape(t, [channels], "each of batch norm's vectors");
    if (residual) expectShape(residual, x.shape, "the residual");
    const moved = training ? [{ shape: [channels] }, { shape: [channels] }] : [];
    return [{ shape: x.shape }, { shape: [2, channels] }, ...moved];
  },
  updates: ({ attrs }) =>
    new Map(
      attrs.training
        ? [
            [2, 3],
            [3, 4],
          ]
        : [],
    ),
  gradient({ inputs: [x, gamma, beta, , , residual], outputs: [y, stats], attrs }, [dy]) {
    if (!dy) return [];
    const grads = apply(batchNormGradOp, [x, gamma, stats, dy, ...(attrs.relu ? [y, beta] : [])], attrs);
    return [grads[0], grads[1], grads[2], null, null, residual ? (attrs.relu ? grads[3] : dy) : null];
  },
  fuse({ inputs: [x, gamma, beta, mean, variance, residual], outputs, attrs }, uses) {
    const conv = x.node;
    if (attrs.training || conv?.op !== conv2dOp || uses(x) > 1) return null;
    const before = conv as NonNullable<typeof conv> & { attrs: Parameters<typeof conv2dOp.outputs>[1] };
    const { affine, relu, residual: summed } = before.attrs.epilogue;
    if (affine || relu || summed) return null;
    const [source, weights, bias] = before.inputs;
    const [scale, shift] = apply(batchNormAffineOp, [gamma, beta, mean, variance, ...(bias ? [bias] : [])], attrs.eps);
    const epilogue = { bias: false, affine: true, residual: attrs.residual, relu: attrs.relu };
    const inputs = [source, weights, scale, shift, ...(residual ? [residual] : [])];
    return [apply(conv2dOp, inputs, { ...before.attrs, epilogue })[0], outputs[1]];
  },
  lower({ inputs: [x, gamma, beta, mean, variance, residual], outputs, attrs }, to) {
    const [y, stats] = outputs;
    const { rows, channels } = rowsOf(x);
    if (attrs.training) {
      const { chunk, chunks, partial } = to.moments.get(x) ?? dispatchStats(to, x);
      const { workgroups, ...wide } = merging(to, channels, chunks);
      to.dispatch({
        kernel: { shader: "batch_norm_finalize", ...wide, defines: { ELEM: 1, ...wide.defines } },
        bindings: { partial, stats, runningMean: outputs[2], runningVar: outputs[3] },
        params: { rows, channels, chunk, chunks, eps: attrs.eps, momentum: attrs.momentum, one: 1 },
        workgroups,
        bytes: partial.bytes,
      });
    } else {
      to.dispatch({
        kernel: { shader: "batch_norm_running", defines: { STATS: true } },
        bindings: { runningMean: mean, runningVar: variance, stats },
        params: { channels, eps: attrs.eps },
        workgroups: [Math.ceil(channels / 64)],
      });
    }
    dispatchApply(to, { x, stats, gamma, beta, y, residual }, attrs.relu);
  },
  asksMoments: ({ inputs: [x], attrs }) => (attrs.training ? x : null),
  again({ inputs: [x, gamma, beta, , , residual], outputs: [, stats], attrs }) {
    return {
      inputs: [x, stats, gamma, beta, ...(residual ? [residual] : [])],
      make: (inputs) => apply(batchNormApplyOp, inputs, { relu: attrs.relu })[0],
    };
  },
};

/** The moments of a map whose maker has left none. */
function dispatchStats(to: Lowering, x: Tensor): Moments {
  const { rows, channels, elem } = rowsOf(x);
  const moments = statistics(to, x);
  const { chunk, chunks, partial } = moments;
  to.dispatch({
    kernel: {
      shader: "batch_norm_stats",
      defines: { ELEM: elem, X: stored(x, elem), AHEAD: !to.profile.software, ...fetching(to) },
      overrides: lanesOf(to),
    },
    bindings: { x, partial },
    params: { rows, channels: channels / elem, chunk, chunks, none: 0 },
    workgroups: lanes(to, channels / elem, chunks),
    bytes: x.bytes,
  });
  return moments;
}

/** The last step of batch norm alone. Inputs: x, stats, gamma, beta, residual?; output: y. */
const batchNormApplyOp: Op<{ readonly relu: boolean }> = {
  name: "batchNormApply",
  halves: { inputs: [0, 4], outputs: [0] },
  outputs: ([x]) => [{ shape: x.shape }],
  lower({ inputs: [x, stats, gamma, beta, residual], outputs: [y], attrs }, to) {
    dispatchApply(to, { x, stats, gamma, beta, y, residual }, attrs.relu);
  },
};

function dispatchApply(
  to: Lowering,
  tensors: { x: Tensor; stats: Tensor; gamma: Tensor; beta: Tensor; y: Tensor; residual?: Tensor },
  relu: boolean,
): void {
  const { x, y, residual } = tensors;
  const { rows, channels, elem } = rowsOf(x);
  const types = { X: stored(x, elem), Y: stored(y, elem), ...(residual && { R: stored(residual, elem) }) };
  const run = rowsPerRun(to, rows);
  to.dispatch({
    kernel: {
      shader: "batch_norm_apply",
      defines: {
        ELEM: elem,
        ROWS: rowsAhead(to),
        RESIDUAL: residual !== undefined,
        ...types,
        ...fetching(to, { residual }),
      },
      overrides: lanesOf(to),
    },
    bindings: tensors,
    params: { rows, channels: channels / elem, run, relu: Number(relu), one: 1, none: 0 },
    workgroups: lanes(to, channels / elem, Math.ceil(rows / run)),
    bytes: x.bytes + y.bytes + (residual?.bytes ?? 0),
  });
}

/** Inputs: x, gamma, stats, dy, y and beta (both with ReLU); outputs: dx, dgamma, dbeta, dresidual (with ReLU and residual). */
const batchNormGradOp: Op<BatchNormAttrs> = {
  name: "batchNormGrad",
  halves: { inputs: [0, 3, 4], outputs: [0, 3] },
  outputs([x, gamma], { relu, residual }) {
    const vectors = [{ shape: gamma.shape }, { shape: gamma.shape }];
    return [{ shape: x.shape }, ...vectors, ...(relu && residual ? [{ shape: x.shape }] : [])];
  },
  unread: ({ inputs: [, , , , y], attrs }, profile) => (maskOf(attrs, profile) === "x" ? [y] : []),
  lower({ inputs: [x, gamma, stats, dy, y, beta], outputs: [dx, dgamma, dbeta, dresidual], attrs }, to) {
    const { rows, channels, elem } = rowsOf(x);
    const mask = maskOf(attrs, to.profile);
    const masking = mask === "y" ? y : undefined;
    const columns = channels / elem;
    // What is made from x is rounded as y is stored.
    const types = { X: stored(x, elem), DY: stored(dy, elem), ...(mask && { Y: stored(y, elem) }) };
    const read = { ELEM: elem, ROWS: rowsAhead(to), MASK: mask, ...types, ...fetching(to, { dy, y: masking }) };
    const { software } = to.profile;
    const { chunk, chunks, partial } = gradientSums(to, x, columns);
    to.dispatch({
      kernel: {
        shader: "batch_norm_grad_stats",
        defines: { ...read, SHARED: !software },
        overrides: software ? lanesOf(to) : { LX: 8, LY: SHARING },
      },
      bindings: { x, stats, dy, partial, y: masking, ...(mask === "x" && { gamma, beta }) },
      params: { rows, channels: columns, chunk, chunks, none: 0, ...(mask === "x" && { one: 1 }) },
      workgroups: software ? lanes(to, columns, chunks) : [Math.ceil(columns / 8), chunks],
      bytes: x.bytes + dy.bytes + (masking?.bytes ?? 0),
    });
    const sums = to.scratch("sums", [2, channels]);
    const { workgroups, ...wide } = merging(to, channels, chunks);
    to.dispatch({
      kernel: { shader: "batch_norm_grad_finalize", ...wide },
      bindings: { partial, dgamma, dbeta, sums },
      params: { channels, chunks },
      workgroups,
      bytes: partial.bytes,
    });
    const run = rowsPerRun(to, rows);
    const made = { DX: stored(dx, elem), ...(dresidual && { DR: stored(dresidual, elem) }) };
    to.dispatch({
      kernel: {
        shader: "batch_norm_grad_apply",
        defines: { ...read, RESIDUAL: dresidual !== undefined, ...made },
        overrides: lanesOf(to),
      },
      bindings: { x, stats, gamma, sums, dy, dx, y: masking, beta: mask === "x" ? beta : undefined, dresidual },
      params: {
        ...{ rows, channels: columns, run, inverseRows: attrs.training ? 1 / rows : 0, none: 0 },
        ...(mask === "x" && { one: 1 }),
      },
      workgroups: lanes(to, columns, Math.ceil(rows / run)),
      bytes: x.bytes + dy.bytes + dx.bytes + (masking?.bytes ?? 0) + (dresidual?.bytes ?? 0),
    });
  },
};

/**
 * Where a gradient has the ReLU's mask from. Without a residual, x, which it reads anyway, is enough: some 20 operations in place of a
 * load, which on a GPU is the dearer one. false without ReLU.
 */
function maskOf({ relu, residual }: BatchNormAttrs, { software }: DeviceProfile): "x" | "y" | false {
  if (!relu) return false;
  return residual || software ? "y" : "x";
}

/** Inputs: gamma, beta, mean, var, bias of the convolution before?; outputs: scale, shift of its epilogue. */
const batchNormAffineOp: Op<number> = {
  name: "batchNormAffine",
  outputs: ([gamma]) => [{ shape: gamma.shape }, { shape: gamma.shape }],
  lower({ inputs: [gamma, beta, runningMean, runningVar, bias], outputs: [scale, shift], attrs: eps }, to) {
    to.dispatch({
      kernel: { shader: "batch_norm_running", defines: { STATS: false, BIAS: bias !== undefined } },
      bindings: { runningMean, runningVar, gamma, beta, scale, shift, bias },
      params: { channels: gamma.size, eps },
      workgroups: [Math.ceil(gamma.size / 64)],
    });
  },
};

/** Whether lines are fetched ahead (batch_norm_lines.wgsl), and of which maps beside x. */
function fetching(to: Lowering, { dy, y, residual }: { dy?: Tensor; y?: Tensor; residual?: Tensor } = {}): Defines {
  if (!to.profile.gathers) return { GATHERS: false };
  const read = { WITH_DY: dy !== undefined, WITH_Y: y !== undefined, WITH_RESIDUAL: residual !== undefined };
  return { GATHERS: true, ...read };
}

/** Where loads are gathers, a workgroup is one subgroup, so that its rows are known to be the same for all lanes. */
const lanesOf = (to: Lowering) => ({ LX: 8, LY: to.profile.gathers ? 1 : 8 });

function lanes(to: Lowering, columns: number, rows: number): [number, number] {
  const { LX, LY } = lanesOf(to);
  return [Math.ceil(columns / LX), Math.ceil(rows / LY)];
}

function rowsOf(x: Tensor): { rows: number; channels: number; elem: 1 | 4 } {
  const channels = x.shape[x.shape.length - 1];
  return { rows: x.size / channels, channels, elem: channels % 4 === 0 ? 4 : 1 };
}

/** Rows that an invocation loads before it looks at the first: on GPUs no load would overtake a store. */
const rowsAhead = ({ profile }: Lowering) => (profile.software ? 1 : 4);

/** Rows that one invocation walks: few enough for many invocations, and never more runs than a grid dimension holds. */
function rowsPerRun(to: Lowering, rows: number): number {
  return Math.max(8, Math.ceil(rows / (65535 * lanesOf(to).LY)));
}

/**
 * How chunks are merged: by one invocation a channel in workgroups of 64, or, on GPUs, by workgroups of 256 for some channels each. These
 * are eight, as that is what a load from memory brings, or fewer where they would leave a lane more than eight chunks.
 */
function merging({ profile }: Lowering, channels: number, chunks: number) {
  if (profile.software) return { defines: { WIDE: false }, workgroups: [Math.ceil(channels / 64)] as const };
  const LY = Math.min(128, Math.max(32, powerOfTwo(chunks / 8)));
  const LX = 256 / LY;
  return { defines: { WIDE: true }, overrides: { LX, LY }, workgroups: [Math.ceil(channels / LX)] as const };
}

/** Invocations of a workgroup that share a chunk of rows of each column, on GPUs (batch_norm_grad_stats.wgsl: SHARED). */
const SHARING = 16;

/** Memory for the sums of batch norm's gradient, by chunks of rows: on GPUs those of a workgroup, some 2^16 invocations in all. */
function gradientSums(to: Lowering, x: Tensor, columns: number): Moments {
  if (to.profile.software) return statistics(to, x);
  const { rows, channels } = rowsOf(x);
  const chunk = SHARING * Math.max(8, Math.ceil((rows * columns) / 2 ** 16));
  const chunks = Math.ceil(rows / chunk);
  return { chunk, chunks, partial: to.scratch("partial", [2, chunks, channels]) };
}

function statistics(to: Lowering, x: Tensor): Moments {
  const { rows, channels, elem } = rowsOf(x);
  // Each chunk is read once more; a GPU wants some 2^16 invocations that load at the same time.
  const { software } = to.profile;
  const most = software ? 512 : Math.ceil(2 ** 16 / (channels / elem));
  const chunk = Math.max(software ? 64 : 16, Math.ceil(rows / most));
  const chunks = Math.ceil(rows / chunk);
  return { chunk, chunks, partial: to.scratch("partial", [2, chunks, channels]) };
}

export interface BatchNormOptions {
  /** Batch statistics, which also move the running ones; otherwise the running statistics are used. */
  readonly training: boolean;
  readonly relu?: boolean;
  /** Added after the normalisation and before the ReLU. */
  readonly residual?: Tensor;
  readonly eps?: number;
  readonly momentum?: number;
}

export interface BatchNormVectors {
  readonly gamma: Tensor;
  readonly beta: Tensor;
  readonly runningMean: Tensor;
  readonly runningVar: Tensor;
}

/**
 * Batch normalisation over all axes but the last (channels).
 * @param x [..., C]
 * @param v vectors [C]
 * @returns y, and in training the updated running statistics (unbiased variance), which overwrite the given ones
 */
export function batchNorm(
  x: Tensor,
  v: BatchNormVectors,
  options: BatchNormOptions,
): { y: Tensor; runningMean: Tensor; runningVar: Tensor } {
  const { training, relu = false, residual, eps = 1e-5, momentum = 0.1 } = options;
  const inputs = [x, v.gamma, v.beta, v.runningMean, v.runningVar, ...(residual ? [residual] : [])];
  const outputs = apply(batchNormOp, inputs, { training, relu, residual: residual !== undefined, eps, momentum });
  return training
    ? { y: outputs[0], runningMean: outputs[2], runningVar: outputs[3] }
    : { y: outputs[0], runningMean: v.runningMean, runningVar: v.runningVar };
}
