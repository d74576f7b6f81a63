/** What depends on weights alone, computed when a network is exported. */
import type { Node, Shape, Tensor } from "../graph/tensor.js";
import type { SliceAttrs } from "../ops/layout.js";

/** float64 where it was computed, and is to be rounded only once. */
export type Numbers = Float32Array | Float64Array;

export class Constants {
  private readonly known: Map<Tensor, Numbers | null>;

  /** @param weights values of the variables, in engine layout */
  constructor(weights: ReadonlyMap<Tensor, Float32Array>) {
    this.known = new Map(weights);
  }

  /** The values of a tensor, null where they depend on an input. */
  of(t: Tensor): Numbers | null {
    if (!this.known.has(t)) {
      if (t.node) this.compute(t.node);
      else this.known.set(t, t.leaf?.kind === "constant" ? Float32Array.from(t.leaf.data) : null);
    }
    return this.known.get(t) ?? null;
  }

  private compute(node: Node): void {
    const inputs = node.inputs.map((t) => this.of(t));
    const steady = inputs.every((values) => values !== null);
    const results = steady ? evaluate(node, inputs) : [];
    node.outputs.forEach((t, i) => {
      this.known.set(t, results[i] ?? null);
    });
  }
}

function evaluate({ op, inputs, attrs, scope }: Node, values: readonly Numbers[]): Numbers[] {
  switch (op.name) {
    case "reshape":
      return [values[0]];
    case "slice":
      return [slice(values[0], inputs[0].shape, attrs as SliceAttrs)];
    case "batchNormAffine": {
      const { scale, shift } = affine(values, attrs as number);
      return [scale, shift];
    }
    default:
      throw new Error(`${scope}: the export cannot compute ${op.name} of weights`);
  }
}

function slice(values: Numbers, shape: Shape, { axis, start, end }: SliceAttrs): Numbers {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  return values.filter((_, i) => {
    const at = Math.floor(i / inner) % shape[axis];
    return at >= start && at < end;
  });
}

/**
 * Batch norm in evaluation mode as scale x + shift.
 * @param vectors gamma, beta, running mean, running variance, and the bias of the layer before, if it has one
 */
export function affine(
  [gamma, beta, mean, variance, bias]: readonly Numbers[],
  eps: number,
): { scale: Float64Array; shift: Float64Array } {
  const scale = Float64Array.from(gamma, (g, i) => g / Math.sqrt(variance[i] + eps));
  const shift = scale.map((k, i) => beta[i] + ((bias?.[i] ?? 0) - mean[i]) * k);
  return { scale, shift };
}
