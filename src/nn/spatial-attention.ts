/**
 * RGA's spatial attention (RGA-S), which MPN* puts after each stage of the backbone: a position is weighed by its
 * relations to all positions and by its own feature.
 */
import { scope, type Tensor } from "../graph/tensor.js";
import { add, concat, conv2d, matmul, mean, mul, reshape, sigmoid, slice, split, transpose } from "../ops/index.js";
import { uniformFanIn } from "./init.js";
import type { Build } from "./layers.js";

/** Channels, positions and the gate's inputs are squeezed to an eighth, rounded down, at least one. */
const squeezed = (count: number) => Math.max(1, Math.floor(count / 8));

/**
 * x times a gate in (0, 1) for each position, the same for all channels. With theta_i, phi_i the embeddings of position
 * i, its relations theta_i . phi_j and theta_j . phi_i to all P positions j are mapped to P / 8 channels by one matrix
 * [A1 A2], which is linear up to its batch norm: (A1 phi^T) theta_i + (A2 theta^T) phi_i. The P x P relations are
 * therefore never made, neither forward nor backward. The matrix ties the parameters to the size of the map.
 * @param x [N, H, W, C]
 */
export function spatialAttention(b: Build, name: string, x: Tensor): Tensor {
  const [n, height, width, channels] = x.shape;
  const [positions, dim] = [height * width, squeezed(channels)];
  const related = squeezed(positions);
  const init = uniformFanIn(channels);

  // The three embeddings of a position are one product, [N, P, 3 dim].
  const layers = (suffix: number) => ["theta", "phi", "embed"].map((layer) => `${name}.${layer}.${suffix}`);
  const embedded = b.batchNorm(layers(1), b.conv(layers(0), x, dim, 1, 1, init), { relu: true });
  const rows = reshape(embedded, [n, positions, 3 * dim]);

  const relate = b.convWeight([`${name}.relate.0`], 2 * positions, related, 1, uniformFanIn(2 * positions));
  const hidden = squeezed(1 + related);
  const squeeze = b.convWeight([`${name}.gate.0`], 1 + related, hidden, 1, uniformFanIn(1 + related));
  const own = scope(name, () => mean(slice(rows, 2, 2 * dim, 3 * dim), [2], { keepDims: true }));
  const pairs = scope(name, () => slice(rows, 2, 0, 2 * dim));
  const mixed = scope(name, () => mix(pairs, relate));

  // The gate's first convolution reads [own, relations]; its two parts are added, so that the two are never joined.
  const seen = sections(b, positions, related, channels).map(([from, to]) => {
    const part = scope(name, () => matmul(slice(pairs, 1, from, to), mixed));
    const relations = b.batchNorm(`${name}.relate.1`, part, { relu: true });
    const map = reshape(relations, [n, to - from, 1, related]);
    return scope(`${name}.gate`, () => conv2d(map, slice(squeeze, 2, 1, 1 + related)));
  });
  let gate = scope(`${name}.gate`, () => {
    const first = mul(reshape(own, [n, positions, 1, 1]), slice(squeeze, 2, 0, 1));
    return add(first, seen.length > 1 ? concat(seen, 1) : seen[0]);
  });
  gate = b.batchNorm(`${name}.gate.1`, gate, { relu: true });
  gate = b.batchNorm(`${name}.gate.4`, b.conv(`${name}.gate.3`, gate, 1, 1, 1, uniformFanIn(hidden)));
  return scope(name, () => mul(x, sigmoid(reshape(gate, [n, height, width, 1]))));
}

/** A1 phi^T and A2 theta^T for each image, transposed and stacked: [N, 2 dim, P / 8]. @param pairs theta, phi side by side */
function mix(pairs: Tensor, relate: Tensor): Tensor {
  const [theta, phi] = split(transpose(pairs), 1, 2);
  const matrix = reshape(relate, relate.shape.slice(2));
  const positions = matrix.shape[0] / 2;
  const product = (embedding: Tensor, from: number) => matmul(embedding, slice(matrix, 0, from, from + positions));
  return concat([product(phi, 0), product(theta, positions)], 1);
}

/**
 * Positions whose relations are made at a time. Training needs all of them for the batch's statistics; otherwise those
 * of a section take at most about a quarter of the map's memory.
 */
function sections(b: Build, positions: number, related: number, channels: number): [from: number, to: number][] {
  const count = b.training ? 1 : Math.min(positions, Math.ceil((4 * related) / channels));
  const size = Math.ceil(positions / count);
  return Array.from({ length: Math.ceil(positions / size) }, (_, i) => [i * size, Math.min(positions, (i + 1) * size)]);
}
