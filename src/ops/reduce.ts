/** Sums, means and maxima over axes, and the expansion that undoes a sum (shaders/reduce_*.wgsl, expand.wgsl). */
import { grid, type Lowering } from "../graph/lowering.js";
import { apply, type Op, type Shape, ShapeError, scopeName, type Tensor } from "../graph/tensor.js";
import { dispatchMaxGrad } from "./global-max-pool.js";
import { aroundAxes, axisOf, elemOf, flat, powerOfTwo, stored } from "./lanes.js";
import { reshape } from "./layout.js";

/** Longest run that one invocation reduces by itself; longer ones are reduced in about equal stages. */
const LONGEST_RUN = 64;

/** Neighbouring axes that are reduced to 1 (or grown from it). */
export interface AxesAttrs {
  readonly first: number;
  readonly last: number;
}

export interface SumAttrs extends AxesAttrs {
  /** Factor of the sum. */
  readonly k: number;
}

const withOnes = (shape: Shape, { first, last }: AxesAttrs): Shape =>
  shape.map((d, i) => (i < first || i > last ? d : 1));

/** How many partial results to make of `count` elements; 1 where they are few enough to finish. */
const splitsOf = (count: number) => (count <= LONGEST_RUN ? 1 : Math.ceil(Math.sqrt(count)));

/** Sums from which there is an invocation for each on a GPU. */
const MANY_SUMS = 2 ** 15;
/** Terms of a sum up to which lanes share all of it, as another dispatch costs more than they wait, and those of a lane where they do not. */
const MOST_TERMS = 48;
const TERMS = 16;
/** Lanes of a workgroup that go along neighbouring sums at the most: whole lines of memory, whether scalars or vec4. */
const ACROSS = 16;

/** Lanes across sums and along the terms of each, where they share them; null where an invocation makes a sum by itself. */
function sharing(to: Lowering, { outer, count, inner }: { outer: number; count: number; inner: number }) {
  if (to.profile.software || outer * inner >= MANY_SUMS || count < ACROSS) return null;
  const LX = Math.min(ACROSS, powerOfTwo(inner));
  return { LX, LY: Math.min(256 / LX, powerOfTwo(count)) };
}

/** Partial results that workgroups make of a sum whose lanes would have `terms` each if one of them made it. */
const sharedSplits = (terms: number) => (terms <= MOST_TERMS ? 1 : Math.ceil(terms / TERMS));

const sumOp: Op<SumAttrs> = {
  name: "sum",
  halves: { inputs: [0], outputs: [] },
  outputs: ([x], attrs) => [{ shape: withOnes(x.shape, attrs) }],
  gradient({ inputs: [x], attrs }, [dy]) {
    return dy ? apply(expandOp, [dy], { ...attrs, shape: x.shape }) : [null];
  },
  lower({ inputs: [x], outputs: [y], attrs }, to) {
    const { outer, count, inner } = aroundAxes(x.shape, attrs.first, attrs.last);
    const elem = elemOf(inner);
    const stage = (from: Tensor, length: number) => {
      const shared = sharing(to, { outer, count: length, inner: inner / elem });
      const splits = shared ? sharedSplits(length / shared.LY) : splitsOf(length);
      const total = (outer * splits * inner) / elem;
      const into = splits === 1 ? y : to.scratch(`partial${length}`, [outer, splits, inner]);
      to.dispatch({
        kernel: {
          shader: "reduce_sum",
          defines: { ELEM: elem, X: stored(from, elem), SHARED: shared !== null },
          ...(shared && { overrides: { ...shared } }),
        },
        bindings: { x: from, y: into },
        params: { total, count: length, inner: inner / elem, splits, k: splits === 1 ? attrs.k : 1 },
        workgroups: shared ? grid(outer * splits * Math.ceil(inner / elem / shared.LX)) : flat(total),
        flops: from.size,
        bytes: from.bytes + into.bytes,
      });
      if (splits > 1) stage(into, splits);
    };
    stage(x, count);
  },
};

const expandOp: Op<SumAttrs & { readonly shape: Shape }> = {
  name: "expand",
  outputs: (_, { shape }) => [{ shape }],
  gradient: (node, [dy]) => (dy ? apply(sumOp, [dy], node.attrs) : [null]),
  lower({ inputs: [x], outputs: [y], attrs }, to) {
    const { count, inner } = aroundAxes(y.shape, attrs.first, attrs.last);
    const elem = inner === 1 ? elemOf(count) : elemOf(inner);
    const total = y.size / elem;
    to.dispatch({
      kernel: { shader: "expand", defines: { ELEM: elem, X: inner > 1 && elem === 4 ? "vec4f" : "f32" } },
      bindings: { x, y },
      params: { total, run: (count * inner) / elem, inner: inner === 1 ? 1 : inner / elem, k: attrs.k },
      workgroups: flat(total),
      bytes: x.bytes + y.bytes,
    });
  },
};

const maxOp: Op<AxesAttrs> = {
  name: "max",
  outputs([x], attrs) {
    const shape = withOnes(x.shape, attrs);
    return [{ shape }, { shape, dtype: "u32" }];
  },
  gradient({ inputs: [x], outputs: [, argmax], attrs }, [dy]) {
    return dy ? apply(maxGradOp, [dy, argmax], { ...attrs, shape: x.shape }) : [null];
  },
  lower({ inputs: [x], outputs: [y, argmax], attrs }, to) {
    const { outer, count, inner } = aroundAxes(x.shape, attrs.first, attrs.last);
    reduceMax(to, x, null, { y, argmax }, [outer, count, inner]);
  },
};

type MaxAndIndex = { readonly y: Tensor; readonly argmax: Tensor };

function reduceMax(to: Lowering, x: Tensor, index: Tensor | null, result: MaxAndIndex, dims: readonly number[]): void {
  const [outer, count, inner] = dims;
  const splits = splitsOf(count);
  const shape = [outer, splits, inner];
  const into =
    splits === 1
      ? result
      : { y: to.scratch(`partial${count}`, shape), argmax: to.scratch(`index${count}`, shape, "u32") };
  const total = outer * splits * inner;
  to.dispatch({
    kernel: { shader: "reduce_max", defines: { INDEXED: index !== null } },
    bindings: index ? { x, index, ...into } : { x, ...into },
    params: { total, count, inner, splits },
    workgroups: flat(total),
    bytes: (index ? 2 : 1) * x.bytes + 2 * into.y.bytes,
  });
  if (splits > 1) reduceMax(to, into.y, into.argmax, result, shape);
}

const maxGradOp: Op<AxesAttrs & { readonly shape: Shape }> = {
  name: "maxGrad",
  outputs: (_, { shape }) => [{ shape }],
  lower({ inputs: [dy, argmax], outputs: [dx], attrs }, to) {
    const { count, inner } = aroundAxes(dx.shape, attrs.first, attrs.last);
    dispatchMaxGrad(to, { dy, argmax, dx }, count, inner);
  },
};

/** Runs of neighbouring axes, the innermost first, without those of size 1, which need no work. */
function runsOf(shape: Shape, axes: readonly number[]): AxesAttrs[] {
  const runs: { first: number; last: number }[] = [];
  for (const axis of [...axes].sort((a, b) => b - a)) {
    const run = runs.at(-1);
    if (run && run.first === axis + 1) run.first = axis;
    else runs.push({ first: axis, last: axis });
  }
  return runs.filter(({ first, last }) => aroundAxes(shape, first, last).count > 1);
}

export interface ReduceOptions {
  /** Leaves reduced axes in place with size 1 instead of removing them. */
  readonly keepDims?: boolean;
}

function reduceAxes(
  x: Tensor,
  axes: readonly number[] | undefined,
  options: ReduceOptions,
  step: (x: Tensor, run: AxesAttrs) => Tensor,
): Tensor {
  const list = [...new Set((axes ?? x.shape.map((_, i) => i)).map((axis) => axisOf(x, axis)))];
  const runs = runsOf(x.shape, list);
  const reduced = runs.reduce((t, run) => step(t, run), x);
  if (options.keepDims) return reduced;
  const shape = x.shape.filter((_, i) => !list.includes(i));
  return reshape(reduced, shape.length > 0 ? shape : [1]);
}

/**
 * Sum over axes, each in a fixed order.
 * @param x any shape
 * @param axes counted from the end when negative; all of them by default
 * @returns x's shape without these axes; [1] when none is left
 */
export function sum(x: Tensor, axes?: readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceAxes(x, axes, options, (t, run) => apply(sumOp, [t], { ...run, k: 1 })[0]);
}

/** Mean over axes; as `sum`. */
export function mean(x: Tensor, axes?: readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceAxes(x, axes, options, (t, run) => {
    return apply(sumOp, [t], { ...run, k: 1 / aroundAxes(t.shape, run.first, run.last).count })[0];
  });
}

/** Maximum over axes; as `sum`. On a tie the first element takes the gradient. */
export function max(x: Tensor, axes?: readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceAxes(x, axes, options, (t, run) => apply(maxOp, [t], run)[0]);
}

/**
 * Global average pooling.
 * @param x [N, H, W, C]
 * @returns [N, C]
 */
export function globalAveragePool(x: Tensor): Tensor {
  if (x.shape.length !== 4) throw new ShapeError(scopeName("globalAveragePool"), `expected an NHWC map, got ${x}`);
  return mean(x, [1, 2]);
}

/** Sum over the axes along which `shape` was broadcast to g's: the gradient of broadcasting. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const lead = g.shape.length - shape.length;
  const axes = g.shape.map((_, i) => i).filter((i) => i < lead || shape[i - lead] < g.shape[i]);
  return axes.length === 0 && lead === 0 ? g : reshape(sum(g, axes, { keepDims: true }), shape);
}

/**
 * x repeated along axes of size 1, and along new ones in front, as numpy's broadcast_to.
 * @param shape what x's shape broadcasts to. Throws where it does not
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.shape.length;
  if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== shape[i + lead])) {
    const where = scopeName("broadcastTo");
    throw new ShapeError(
      where,
      `${x} does not broadcast to [${shape}]: axes, counted from the last, must be equal or 1`,
    );
  }
  const from = [...new Array<number>(lead).fill(1), ...x.shape];
  const grown = shape.map((_, i) => i).filter((i) => from[i] < shape[i]);
  return runsOf(shape, grown).reduce(
    (t, { first, last }) => {
      const next = t.shape.map((d, i) => (i < first || i > last ? d : shape[i]));
      return apply(expandOp, [t], { first, last, k: 1, shape: next })[0];
    },
    lead === 0 ? x : reshape(x, from),
  );
}
