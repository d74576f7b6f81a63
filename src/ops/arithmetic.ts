/** Arithmetic on two tensors with broadcasting (shaders/binary.wgsl), and what is made of it. */
import type { Lowering } from "../graph/lowering.js";
import { apply, type Op, type Shape, ShapeError, scopeName, type Tensor } from "../graph/tensor.js";
import { expectRank, expectShape } from "./check.js";
import { scale } from "./elementwise.js";
import { flat, stored } from "./lanes.js";
import { reshape } from "./layout.js";
import { broadcastTo, sum, sumTo } from "./reduce.js";

/** The shape that two shapes broadcast to, by numpy's rule. Throws where they do not. */
function broadcastShape(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [p, q] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1];
    if (p !== q && p !== 1 && q !== 1) {
      throw new Error(
        `axis ${i - rank} has ${p} positions in [${a}] and ${q} in [${b}]: they must be equal, or one of them 1`,
      );
    }
    return Math.max(p, q);
  });
}

/** Neighbouring axes that behave alike: `a` and `b` say whether an operand varies along them. */
interface Group {
  size: number;
  readonly a: boolean;
  readonly b: boolean;
}

function groupsOf(shape: Shape, a: Shape, b: Shape): Group[] {
  const groups: Group[] = [];
  shape.forEach((size, i) => {
    if (size === 1) return;
    const varies = (operand: Shape) => (operand[i - shape.length + operand.length] ?? 1) > 1;
    const next = { size, a: varies(a), b: varies(b) };
    const last = groups.at(-1);
    if (last && last.a === next.a && last.b === next.b) last.size *= size;
    else groups.push(next);
  });
  return groups.length > 0 ? groups : [{ size: 1, a: true, b: true }];
}

/** Axes that the shader's uniforms describe. */
const MAX_GROUPS = 4;

/** ka a + kb b */
export interface Factors {
  readonly ka: number;
  readonly kb: number;
}

function lowerBinary(
  kind: "add" | "mul",
  inputs: readonly [Tensor, Tensor, Tensor],
  { ka, kb }: Factors,
  to: Lowering,
): void {
  const [a, b, y] = inputs;
  const groups = groupsOf(y.shape, a.shape, b.shape);
  const inner = groups[groups.length - 1];
  const wide = groups.length === 1 || inner.size % 4 === 0;
  const describe = (t: Tensor, operand: "a" | "b") => {
    const vector = wide && inner[operand];
    let along = 1;
    const strides = groups.toReversed().map((group, i) => {
      if (!group[operand]) return 0;
      const stride = i === 0 ? 1 : along / (vector ? 4 : 1);
      along *= group.size;
      return stride;
    });
    return { type: stored(t, vector ? 4 : 1), strides: pad(strides, 0) };
  };
  const sizes = groups.toReversed().map((group, i) => (wide && i === 0 ? Math.ceil(group.size / 4) : group.size));
  const [left, right] = [describe(a, "a"), describe(b, "b")];
  const total = sizes.reduce((p, q) => p * q, 1);
  const same = groups.length === 1 && inner.a && inner.b;
  to.dispatch({
    kernel: {
      shader: "binary",
      defines: {
        OP: kind,
        ELEM: wide ? 4 : 1,
        A: left.type,
        B: right.type,
        Y: stored(y, wide ? 4 : 1),
        SAME: same,
      },
    },
    bindings: { a, b, y },
    params: { total, sizes: pad(sizes, 1), aStrides: left.strides, bStrides: right.strides, ka, kb },
    workgroups: flat(total),
    flops: y.size,
    bytes: a.bytes + b.bytes + y.bytes,
  });
}

/** From innermost first to the shader's four axes, outermost first. */
function pad(values: readonly number[], missing: number): number[] {
  return [...values, ...new Array<number>(MAX_GROUPS - values.length).fill(missing)].reverse();
}

const addOp: Op<Factors> = {
  name: "add",
  halves: { inputs: [0, 1], outputs: [0], follow: true },
  outputs: ([a, b]) => [{ shape: broadcastShape(a.shape, b.shape) }],
  gradient({ inputs: [a, b], attrs: { ka, kb } }, [dy]) {
    return dy ? [scaled(sumTo(dy, a.shape), ka), scaled(sumTo(dy, b.shape), kb)] : [null, null];
  },
  lower: ({ inputs: [a, b], outputs: [y], attrs }, to) => lowerBinary("add", [a, b, y], attrs, to),
};

const mulOp: Op<null> = {
  name: "mul",
  halves: { inputs: [0, 1], outputs: [0], follow: true },
  outputs: ([a, b]) => [{ shape: broadcastShape(a.shape, b.shape) }],
  gradient({ inputs: [a, b] }, [dy]) {
    return dy ? [sumTo(mul(dy, b), a.shape), sumTo(mul(dy, a), b.shape)] : [null, null];
  },
  lower: ({ inputs: [a, b], outputs: [y] }, to) => lowerBinary("mul", [a, b, y], { ka: 1, kb: 1 }, to),
};

const maskMultiplyOp: Op<null> = {
  name: "maskMultiply",
  halves: { inputs: [0], outputs: [0] },
  outputs([x, mask]) {
    expectRank(x, 4, "an NHWC map");
    expectShape(mask, [...x.shape.slice(0, 3), 1], "the mask, with an axis for channels,");
    return [{ shape: x.shape }];
  },
  gradient: (node, [dy]) => [dy && apply(maskMultiplyOp, [dy, node.inputs[1]], null)[0], null],
  again: ({ inputs }) => ({ inputs, make: (again) => apply(maskMultiplyOp, again, null)[0] }),
  lower: ({ inputs: [x, mask], outputs: [y] }, to) => lowerBinary("mul", [x, mask, y], { ka: 1, kb: 1 }, to),
};

function scaled(x: Tensor, k: number): Tensor {
  return k === 1 ? x : scale(x, k);
}

/** Operands whose broadcast pattern alternates too often for the kernel are expanded first. */
function operands(a: Tensor, b: Tensor): [Tensor, Tensor] {
  let shape: Shape;
  try {
    shape = broadcastShape(a.shape, b.shape);
  } catch {
    return [a, b]; // the op says what is wrong, and where
  }
  if (groupsOf(shape, a.shape, b.shape).length <= MAX_GROUPS) return [a, b];
  return [broadcastTo(a, shape), broadcastTo(b, shape)];
}

/** ka a + kb b, broadcast as `add`. */
export function addScaled(a: Tensor, b: Tensor, ka: number, kb: number): Tensor {
  return apply(addOp, operands(a, b), { ka, kb })[0];
}

/**
 * a + b, with broadcasting as in numpy: shapes are aligned at their last axis, and axes of size 1 are repeated.
 * Throws ShapeError where an axis differs and neither is 1.
 */
export function add(a: Tensor, b: Tensor): Tensor {
  return addScaled(a, b, 1, 1);
}

/** a - b, broadcast as `add`. */
export function sub(a: Tensor, b: Tensor): Tensor {
  return addScaled(a, b, 1, -1);
}

/** a b, element by element, broadcast as `add`. */
export function mul(a: Tensor, b: Tensor): Tensor {
  return apply(mulOp, operands(a, b), null)[0];
}

/**
 * x times a mask that is the same for all channels. The mask gets no gradient.
 * @param x [N, H, W, C]
 * @param mask f32 [N, H, W]
 */
export function maskMultiply(x: Tensor, mask: Tensor): Tensor {
  return apply(maskMultiplyOp, [x, reshape(mask, [...mask.shape, 1])], null)[0];
}

/**
 * Sum of weights[i] terms[i].
 * @param terms at least one; losses of shape [1] as a rule, broadcast as `add`
 * @param weights as many numbers. Throws ShapeError otherwise
 */
export function weightedSum(terms: readonly Tensor[], weights: readonly number[]): Tensor {
  if (terms.length === 0 || terms.length !== weights.length) {
    throw new ShapeError(
      scopeName("weightedSum"),
      `needs terms and as many weights, got ${terms.length} and ${weights.length}`,
    );
  }
  const [first, ...rest] = terms;
  if (rest.length === 0) return scaled(first, weights[0]);
  return rest.reduce((total, t, i) => addScaled(total, t, i === 0 ? weights[0] : 1, weights[i + 1]), first);
}

/** Sum over all elements of (a - b)^2 -> [1]: the penalty of soft parameter sharing (Sec. 5.3.2). Shapes must be equal. */
export function sumSquaredDifference(a: Tensor, b: Tensor): Tensor {
  if (a.shape.join() !== b.shape.join()) {
    throw new ShapeError(scopeName("sumSquaredDifference"), `the shapes must be equal, got ${a} and ${b}`);
  }
  const difference = sub(a, b);
  return sum(mul(difference, difference));
}
