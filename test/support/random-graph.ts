/** Random graphs of ops that take and make maps of one shape, with views, packs and shared subexpressions. */
import { input, type Tensor } from "#src/graph/tensor.js";
import { add, concat, gradients, mul, pack, relu, reshape, scale, sigmoid, slice, sum } from "#src/ops/index.js";
import { draw, integer, seededRng } from "#src/random.js";

const SHAPE = [4, 64];

/** @returns some tensors of the graph as outputs; it has the inputs `a` and `b`, both [4, 64] */
export function randomGraph(seed: number, nodes: number): Tensor[] {
  const rng = seededRng(seed);
  const [a, b] = [input("a", SHAPE), input("b", SHAPE)];
  const made: Tensor[] = [a, b];
  // Mostly the latest tensors, so that the graph is deep; at times an old one, so that lives are long.
  const pick = () => made[integer(rng, 0, 3) === 0 ? integer(rng, 0, made.length - 1) : latest()];
  const latest = () => Math.max(0, made.length - 1 - integer(rng, 0, 2));
  const kinds: (() => Tensor)[] = [
    () => add(pick(), pick()),
    () => mul(pick(), pick()),
    () => sigmoid(pick()),
    () => relu(pick()),
    () => scale(pick(), 0.5),
    () => reshape(reshape(pick(), [64, 4]), SHAPE),
    () => concat([slice(pick(), 0, 0, 2), slice(pick(), 0, 2, 4)], 0),
    () => concat([slice(pick(), 1, 0, 40), slice(pick(), 1, 40, 64)], 1),
    () => reshape(pack([scale(slice(pick(), 0, 1, 3), 0.5), slice(pick(), 0, 2, 4)], [0, 512], 256), SHAPE),
    () => mul(pick(), sum(pick(), [1], { keepDims: true })),
  ];
  while (made.length < nodes + 2) made.push(scale(kinds[integer(rng, 0, kinds.length - 1)](), 0.75));
  const last = made[made.length - 1];
  const backward = gradients(sum(mul(last, last)), [a, b]).filter((g) => g !== null);
  const kept = draw(rng, made.slice(2), 2);
  return [...new Set([last, ...kept, ...backward])];
}
