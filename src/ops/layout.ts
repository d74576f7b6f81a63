/** Ops that move elements: reshape, slice, split, concat, transpose (shaders/copy.wgsl, slice_grad.wgsl, transpose.wgsl). */
import { BINDING_ALIGNMENT, grid, type Lowering } from "../graph/lowering.js";
import { apply, constant, type Op, type Shape, type Tensor } from "../graph/tensor.js";
import { aroundAxes, axisOf, elemOf, flat, stored } from "./lanes.js";

const reshapeOp: Op<Shape> = {
  name: "reshape",
  outputs([x], shape) {
    const size = shape.reduce((a, b) => a * b, 1);
    if (size !== x.size) throw new Error(`[${shape}] holds ${size} elements, the input ${x.size}`);
    return [{ shape, dtype: x.dtype }];
  },
  gradient: (node, [dy]) => [dy && reshape(dy, node.inputs[0].shape)],
  viewOffset: () => 0,
  lower() {},
};

export interface SliceAttrs {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

const sliceOp: Op<SliceAttrs> = {
  name: "slice",
  outputs([x], { axis, start, end }) {
    const size = x.shape[axis];
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end <= start || end > size) {
      throw new Error(`[${start}, ${end}) is not a part of axis ${axis}, which has ${size} positions`);
    }
    return [{ shape: x.shape.with(axis, end - start), dtype: x.dtype }];
  },
  gradient({ inputs: [x], attrs }, [dy]) {
    return dy ? apply(sliceGradOp, [dy], { ...attrs, shape: x.shape }) : [null];
  },
  lower({ inputs: [x], outputs: [y], attrs: { axis, start } }, to) {
    const { outer, count, inner } = aroundAxes(x.shape, axis);
    const run = y.shape[axis] * inner;
    copy(to, x, y, { outer, run, xStride: count * inner, xStart: start * inner, yStride: run, yStart: 0 });
  },
};

/** A slice that is one run of memory at an offset that can be bound. */
const sliceViewOp: Op<SliceAttrs> = {
  ...sliceOp,
  viewOffset: ({ inputs: [x], attrs }) =>
    (x.dtype === "f16" ? 2 : 4) * attrs.start * aroundAxes(x.shape, attrs.axis).inner,
  lower() {},
};

const sliceGradOp: Op<SliceAttrs & { readonly shape: Shape }> = {
  name: "sliceGrad",
  outputs: (_, { shape }) => [{ shape }],
  lower({ inputs: [dy], outputs: [dx], attrs: { axis, start } }, to) {
    const { count, inner } = aroundAxes(dx.shape, axis);
    const [row, first, run] = [count * inner, start * inner, dy.shape[axis] * inner];
    const elem = elemOf(row, first, run);
    to.dispatch({
      kernel: { shader: "slice_grad", defines: { ELEM: elem } },
      bindings: { dy, dx },
      params: { total: dx.size / elem, row: row / elem, start: first / elem, run: run / elem },
      workgroups: flat(dx.size / elem),
      bytes: dx.bytes + dy.bytes,
    });
  },
};

export interface SplitAttrs {
  readonly axis: number;
  readonly parts: number;
}

const splitOp: Op<SplitAttrs> = {
  name: "split",
  outputs([x], { axis, parts }) {
    const size = x.shape[axis];
    if (!Number.isInteger(parts) || parts < 1 || size % parts !== 0) {
      throw new Error(`axis ${axis} has ${size} positions, which ${parts} equal parts do not divide`);
    }
    return Array.from({ length: parts }, () => ({ shape: x.shape.with(axis, size / parts), dtype: x.dtype }));
  },
  gradient({ outputs, attrs }, grads) {
    return [
      concat(
        grads.map((g, i) => g ?? zerosLike(outputs[i])),
        attrs.axis,
      ),
    ];
  },
  lower({ inputs: [x], outputs, attrs: { axis } }, to) {
    const { outer, count, inner } = aroundAxes(x.shape, axis);
    const run = outputs[0].shape[axis] * inner;
    outputs.forEach((y, i) => {
      copy(to, x, y, { outer, run, xStride: count * inner, xStart: i * run, yStride: run, yStart: 0 });
    });
  },
};

const concatOp: Op<number> = {
  name: "concat",
  outputs(parts, axis) {
    const [first] = parts;
    for (const t of parts) {
      if (t.shape.length !== first.shape.length || t.shape.some((d, i) => i !== axis && d !== first.shape[i])) {
        throw new Error(`${t} does not fit beside ${first}: all axes but axis ${axis} must agree`);
      }
      if (t.dtype !== first.dtype) throw new Error(`cannot join ${t.dtype} and ${first.dtype}`);
    }
    const size = parts.reduce((sum, t) => sum + t.shape[axis], 0);
    return [{ shape: first.shape.with(axis, size), dtype: first.dtype }];
  },
  gradient({ inputs, attrs: axis }, [dy]) {
    let start = 0;
    return inputs.map((t) => {
      const from = start;
      start += t.shape[axis];
      return dy && slice(dy, axis, from, start);
    });
  },
  lower({ inputs, outputs: [y], attrs: axis }, to) {
    const { outer, count, inner } = aroundAxes(y.shape, axis);
    let start = 0;
    for (const x of inputs) {
      const run = x.shape[axis] * inner;
      copy(to, x, y, { outer, run, xStride: run, xStart: 0, yStride: count * inner, yStart: start });
      start += run;
    }
  },
};

const transposeOp: Op<null> = {
  name: "transpose",
  outputs([x]) {
    if (x.shape.length < 2) throw new Error("matrices need rank 2 or more");
    const [rows, columns] = x.shape.slice(-2);
    return [{ shape: [...x.shape.slice(0, -2), columns, rows] }];
  },
  gradient: (_, [dy]) => [dy && transpose(dy)],
  lower: ({ inputs: [x], outputs: [y] }, to) => dispatchTranspose(to, x, y, x.shape.at(-2)!, x.shape.at(-1)!),
};

/** Transposes the matrices [rows, cols] that x holds one after the other. */
export function dispatchTranspose(to: Lowering, x: Tensor, y: Tensor, rows: number, cols: number): void {
  const elem = elemOf(rows, cols);
  const squares = x.size / elem ** 2;
  const block = to.profile.software ? 0 : elem === 4 ? 8 : 16;
  const blocks = (n: number) => Math.ceil(n / elem / block);
  to.dispatch({
    kernel: { shader: "transpose", defines: { ELEM: elem, X: stored(x, elem), BLOCK: block } },
    bindings: { x, y },
    params: { size: squares, rows: rows / elem, cols: cols / elem },
    workgroups: block > 0 ? grid((x.size / rows / cols) * blocks(rows) * blocks(cols)) : flat(squares),
    bytes: 2 * x.bytes,
  });
}

/** The transposed matrices [..., cols, rows] of x [..., rows, cols], made when they are first asked for. */
export function transposedOnce(to: Lowering, x: Tensor): () => Tensor {
  const [rows, cols] = x.shape.slice(-2);
  let y: Tensor | undefined;
  return () => {
    if (!y) {
      y = to.scratch("transposed", [...x.shape.slice(0, -2), cols, rows], x.dtype);
      dispatchTranspose(to, x, y, rows, cols);
    }
    return y;
  };
}

interface Runs {
  readonly outer: number;
  readonly run: number;
  readonly xStride: number;
  readonly xStart: number;
  readonly yStride: number;
  readonly yStart: number;
}

function copy(to: Lowering, x: Tensor, y: Tensor, { outer, run, ...places }: Runs): void {
  const elem = elemOf(run, ...Object.values(places));
  const total = (outer * run) / elem;
  to.dispatch({
    kernel: { shader: "copy", defines: { ELEM: elem } },
    bindings: { x, y },
    params: {
      total,
      run: run / elem,
      xStride: places.xStride / elem,
      xStart: places.xStart / elem,
      yStride: places.yStride / elem,
      yStart: places.yStart / elem,
    },
    workgroups: flat(total),
    bytes: 8 * outer * run,
  });
}

function zerosLike(t: Tensor): Tensor {
  return constant(new Float32Array(t.size), t.shape, "zeros");
}

/** The same elements, in the same order, in another shape of the same size; costs nothing. Any dtype. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  return apply(reshapeOp, [x], shape)[0];
}

/**
 * Positions start, ..., end - 1 along one axis; costs nothing where they are one run of memory that can be bound by itself.
 * @param x any shape and dtype
 * @param axis counted from the end when negative
 */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const attrs = { axis: axisOf(x, axis), start, end };
  const { outer, inner } = aroundAxes(x.shape, attrs.axis);
  const view = outer === 1 && (4 * start * inner) % BINDING_ALIGNMENT === 0;
  return apply(view ? sliceViewOp : sliceOp, [x], attrs)[0];
}

/**
 * `parts` equal slices along one axis, in order. Better than as many calls of `slice`: its gradient joins those of the
 * parts instead of adding padded ones.
 * @param x any shape and dtype
 * @param axis counted from the end when negative; its size must be a multiple of `parts`
 */
export function split(x: Tensor, axis: number, parts: number): Tensor[] {
  return apply(splitOp, [x], { axis: axisOf(x, axis), parts });
}

/**
 * Tensors joined along one axis, in order.
 * @param parts of equal dtype, and of equal shape but for that axis
 * @param axis counted from the end when negative
 */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  if (parts.length === 0) throw new RangeError("concat of no tensors");
  return apply(concatOp, parts, axisOf(parts[0], axis))[0];
}

/** The last two axes swapped, for every matrix of a batch: [..., M, N] -> [..., N, M]. */
export function transpose(x: Tensor): Tensor {
  return apply(transposeOp, [x], null)[0];
}
