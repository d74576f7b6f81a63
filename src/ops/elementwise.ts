/** Elementwise functions of one tensor: activations and affine maps (shaders/unary*.wgsl). */
import { apply, type Op, type Tensor } from "../graph/tensor.js";
import { flat } from "./lanes.js";

type Activation = "leaky_relu" | "sigmoid" | "inverse_norm";

export interface ActivationAttrs {
  readonly kind: Activation;
  /** Slope below zero of leaky_relu, least norm of inverse_norm. */
  readonly k: number;
}

const activationOp: Op<ActivationAttrs> = {
  name: "activation",
  outputs: ([x]) => [{ shape: x.shape }],
  gradient(node, [dy]) {
    if (!dy) return [null];
    return apply(activationGradOp, [dy, node.outputs[0]], node.attrs);
  },
  lower({ inputs: [x], outputs: [y], attrs: { kind, k } }, to) {
    const vectors = Math.ceil(x.size / 4);
    to.dispatch({
      kernel: { shader: "unary", defines: { OP: kind } },
      bindings: { x, y },
      params: { vectors, k, b: 0 },
      workgroups: flat(vectors),
      bytes: x.bytes + y.bytes,
    });
  },
};

/** Reads the output, not the input: where the output is kept anyway, nothing else need be. */
const activationGradOp: Op<ActivationAttrs> = {
  name: "activationGrad",
  outputs: ([dy]) => [{ shape: dy.shape }],
  lower({ inputs: [dy, y], outputs: [dx], attrs: { kind, k } }, to) {
    const vectors = Math.ceil(dx.size / 4);
    to.dispatch({
      kernel: { shader: "unary_grad", defines: { OP: kind } },
      bindings: { dy, y, dx },
      params: { vectors, k },
      workgroups: flat(vectors),
      bytes: 3 * dx.bytes,
    });
  },
};

/** k x + b */
export interface AffineAttrs {
  readonly k: number;
  readonly b: number;
}

const affineOp: Op<AffineAttrs> = {
  name: "affine",
  outputs: ([x]) => [{ shape: x.shape }],
  gradient(node, [dy]) {
    if (!dy) return [null];
    return [node.attrs.k === 1 ? dy : scale(dy, node.attrs.k)];
  },
  lower({ inputs: [x], outputs: [y], attrs: { k, b } }, to) {
    const vectors = Math.ceil(x.size / 4);
    to.dispatch({
      kernel: { shader: "unary", defines: { OP: "affine" } },
      bindings: { x, y },
      params: { vectors, k, b },
      workgroups: flat(vectors),
      bytes: x.bytes + y.bytes,
    });
  },
};

/** max(x, 0), in any shape; the gradient at 0 is 0. */
export function relu(x: Tensor): Tensor {
  return leakyRelu(x, 0);
}

/**
 * x where x > 0, else slope x, in any shape; the gradient at 0 is the slope.
 * @param slope 0 or more, as the gradient tells the sides apart by the sign of the output. Throws otherwise
 */
export function leakyRelu(x: Tensor, slope: number): Tensor {
  if (!(slope >= 0)) throw new RangeError(`leakyRelu of ${x}: the slope must be 0 or more, got ${slope}`);
  return apply(activationOp, [x], { kind: "leaky_relu", k: slope })[0];
}

/** 1 / (1 + exp(-x)), in any shape. */
export function sigmoid(x: Tensor): Tensor {
  return apply(activationOp, [x], { kind: "sigmoid", k: 0 })[0];
}

/** 1 / max(sqrt(x), least), in any shape, for squared norms x; no gradient where `least` is taken. */
export function inverseNorm(x: Tensor, least: number): Tensor {
  return apply(activationOp, [x], { kind: "inverse_norm", k: least })[0];
}

/** k x, in any shape. */
export function scale(x: Tensor, k: number): Tensor {
  return apply(affineOp, [x], { k, b: 0 })[0];
}

/** x + b for a number b, in any shape. */
export function addScalar(x: Tensor, b: number): Tensor {
  return apply(affineOp, [x], { k: 1, b })[0];
}
