import { test } from "uvu";
import * as assert from "uvu/assert";
import { differentiate } from "#src/graph/autograd.js";
import { apply, constant, input, type Node, type Op, reachable, ShapeError, type Tensor } from "#src/graph/tensor.js";

/** Ops of numbers that know their value: the graph's rules are tested without a GPU and without the engine's ops. */
interface Numeric {
  readonly value: (inputs: readonly number[]) => number;
}

const numeric = (name: string, value: Numeric["value"], gradient?: Op<null>["gradient"]): Op<null> & Numeric => ({
  name,
  value,
  gradient,
  outputs: () => [{ shape: [1] }],
  lower() {},
});

const plus = numeric(
  "plus",
  ([a, b]) => a + b,
  (_, [dy]) => [dy, dy],
);
const times = numeric(
  "times",
  ([a, b]) => a * b,
  ({ inputs: [a, b] }, [dy]) => [product(dy!, b), product(dy!, a)],
);
const opaque = numeric("opaque", ([a]) => a);

const sum = (a: Tensor, b: Tensor) => apply(plus, [a, b], null)[0];
const product = (a: Tensor, b: Tensor) => apply(times, [a, b], null)[0];
const onesLike = (t: Tensor) => constant(new Float32Array(t.size).fill(1), t.shape);
const gradients = (loss: Tensor, wrt: readonly Tensor[]) => differentiate(loss, wrt, { add: sum, onesLike });

function evaluate(t: Tensor, values: ReadonlyMap<Tensor, number>): number {
  if (t.leaf?.kind === "constant") return t.leaf.data[0];
  if (!t.node) return values.get(t)!;
  return (t.node.op as Op & Partial<Numeric>).value!(t.node.inputs.map((i) => evaluate(i, values)));
}

test("a shared subexpression gets the sum of what flows back on all paths", () => {
  const [x, y] = [input("x", [1]), input("y", [1])];
  const shared = product(x, y);
  const loss = sum(product(shared, shared), product(shared, x));
  const [dx, dy, dShared] = gradients(loss, [x, y, shared]);
  const at = new Map([
    [x, 3],
    [y, 5],
  ]);
  // x^2 y^2 + x^2 y
  assert.is(evaluate(dx!, at), 2 * 3 * 25 + 2 * 3 * 5);
  assert.is(evaluate(dy!, at), 2 * 9 * 5 + 9);
  assert.is(evaluate(dShared!, at), 2 * 15 + 3);
});

test("a gradient that several tensors have is named as shared where it is added to another one", () => {
  const [a, b] = [input("a", [1]), input("b", [1])];
  const both = sum(a, b);
  const loss = sum(product(both, a), product(both, both));
  const added: boolean[] = [];
  differentiate(loss, [a, b], {
    add: (x, y, shared) => {
      added.push(shared.has(x) || shared.has(y));
      return sum(x, y);
    },
    onesLike,
  });
  // Those of `both` are its own; what comes from it goes to a and to b.
  assert.equal(added, [false, false, true]);
});

test("each node is differentiated once, however many paths lead to it", () => {
  let visits = 0;
  const counted = numeric(
    "counted",
    ([a]) => a,
    (_, [dy]) => {
      visits++;
      return [dy];
    },
  );
  const x = input("x", [1]);
  let t = apply(counted, [x], null)[0];
  for (let i = 0; i < 20; i++) t = sum(t, t);
  const [dx] = gradients(t, [x]);
  assert.is(visits, 1);
  assert.ok(reachable([dx!]).length < 50);
});

test("nothing is computed towards inputs that nobody asked for", () => {
  const asked: Node[] = [];
  const spied = numeric(
    "spied",
    ([a, b]) => a * b,
    (node, [dy]) => {
      asked.push(node);
      return [dy, dy];
    },
  );
  const [image, w] = [input("image", [1]), input("w", [1])];
  const before = apply(spied, [image, image], null)[0];
  const after = apply(spied, [before, w], null)[0];
  const [dw] = gradients(after, [w]);
  assert.ok(dw);
  assert.equal(asked, [after.node]);
});

test("an op without a gradient stops it, and what the loss does not depend on has none", () => {
  const [x, z] = [input("x", [1]), input("z", [1])];
  const [dx, dz] = gradients(sum(apply(opaque, [x], null)[0], onesLike(x)), [x, z]);
  assert.is(dx, null);
  assert.is(dz, null);
});

test("a loss of more than one element is refused by name", () => {
  assert.throws(
    () => gradients(input("scores", [2, 3]), []),
    (error: Error) => error instanceof ShapeError && /scores\[2, 3\]: only a loss of one element/.test(error.message),
  );
});

test("an op whose gradient has another shape than its input is named", () => {
  const wrong = numeric(
    "wrong",
    ([a]) => a,
    () => [input("g", [7])],
  );
  const x = input("x", [1]);
  assert.throws(
    () => gradients(apply(wrong, [x], null)[0], [x]),
    /gradient of wrong: input 0 is x\[1\], its gradient g\[7\]/,
  );
});

test.run();
