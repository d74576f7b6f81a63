/** What each op of the engine is in ONNX (operators of opset 17), for inference. */
import { UserError } from "../errors.js";
import type { Node, Tensor } from "../graph/tensor.js";
import type { Factors } from "../ops/arithmetic.js";
import type { BatchNormAttrs } from "../ops/batch-norm.js";
import { convGeometry } from "../ops/conv-geometry.js";
import type { Conv2dAttrs } from "../ops/conv2d.js";
import type { ActivationAttrs, AffineAttrs } from "../ops/elementwise.js";
import { aroundAxes } from "../ops/lanes.js";
import type { SliceAttrs, SplitAttrs } from "../ops/layout.js";
import type { MatmulAttrs } from "../ops/matmul.js";
import type { MaxPoolAttrs } from "../ops/max-pool.js";
import type { AxesAttrs, SumAttrs } from "../ops/reduce.js";
import { affine } from "./constants.js";
import { axisIn, type Emitter } from "./emitter.js";

type Mapping<A> = (node: Node<A>, to: Emitter) => void;

const CHANNELS_OF_MAP = 1;
const ROWS_OF_MAP = 2;

const conv2d: Mapping<Conv2dAttrs> = ({ inputs: [x, w, ...rest], outputs: [y], attrs }, to) => {
  const g = convGeometry(x.shape, w.shape, attrs);
  const { bias, affine: scaled, residual, relu } = attrs.epilogue;
  const weights = to.constant(w);
  const scale = scaled ? to.constant(rest[0]) : null;
  const shift = scaled ? to.constant(rest[1]) : bias ? to.constant(rest[0]) : null;
  const taps = g.kernel[0] * g.kernel[1];

  /** Filters `first` to `first + count` as [count, channels, kh, kw], with their biases, applied to a map. */
  const convolve = (map: string, name: string, first: number, count: number, group: number) => {
    const filters = new Float64Array(count * taps * g.groupChannels);
    let at = 0;
    for (let filter = first; filter < first + count; filter++) {
      const k = scale?.[filter] ?? 1;
      for (let channel = 0; channel < g.groupChannels; channel++) {
        for (let tap = 0; tap < taps; tap++) {
          filters[at++] = k * weights[(tap * g.groupChannels + channel) * g.filters + filter];
        }
      }
    }
    const inputs = [map, to.tensor(`${name}.weight`, [count, g.groupChannels, ...g.kernel], filters)];
    if (shift) inputs.push(to.tensor(`${name}.bias`, [count], shift.slice(first, first + count)));
    const pads = [...g.padding, ...g.padding];
    return to.emit("Conv", name, inputs, { kernel_shape: g.kernel, strides: g.stride, pads, group })[0];
  };

  const map = to.in("map", x);
  let out: string;
  if (g.split === "rows" && g.groups > 1) {
    const stripes = to.emit("Split", `${y.name}.stripes`, [map], { axis: ROWS_OF_MAP }, g.groups);
    const parts = stripes.map((stripe, k) =>
      convolve(stripe, `${y.name}.stripe${k}`, k * g.groupFilters, g.groupFilters, 1),
    );
    out = to.emit("Concat", y.name, parts, { axis: CHANNELS_OF_MAP })[0];
  } else out = convolve(map, y.name, 0, g.filters, g.groups);
  if (residual) out = to.emit("Add", `${y.name}.sum`, [out, to.in("map", rest[rest.length - 1])])[0];
  if (relu) out = to.emit("Relu", `${y.name}.relu`, [out])[0];
  to.define(y, "map", out);
};

/** Batch norm that could not become part of a convolution. */
const batchNorm: Mapping<BatchNormAttrs> = ({ inputs, outputs: [y], attrs }, to) => {
  const [x, ...vectors] = inputs;
  if (attrs.training) throw new Error(`${y}: batch norm in training mode cannot be exported`);
  const { scale, shift } = affine(
    vectors.slice(0, 4).map((t) => to.constant(t)),
    attrs.eps,
  );
  const layout = to.layoutOf(x);
  const shape = layout === "map" ? [scale.length, 1, 1] : [scale.length];
  const [k, b] = [to.tensor(`${y.name}.scale`, shape, scale), to.tensor(`${y.name}.shift`, shape, shift)];
  const scaled = to.emit("Mul", `${y.name}.scaled`, [to.in(layout, x), k]);
  let [out] = to.emit("Add", y.name, [...scaled, b]);
  if (attrs.residual) out = to.emit("Add", `${y.name}.sum`, [out, to.in(layout, inputs[inputs.length - 1])])[0];
  if (attrs.relu) out = to.emit("Relu", `${y.name}.relu`, [out])[0];
  to.define(y, layout, out);
};

/** Adds a node of one input and one output that works in any layout. */
function unary(op: string, x: Tensor, y: Tensor, to: Emitter, attributes = {}): void {
  const layout = to.layoutOf(x);
  to.define(y, layout, to.emit(op, y.name, [to.in(layout, x)], attributes)[0]);
}

const activation: Mapping<ActivationAttrs> = ({ inputs: [x], outputs: [y], attrs: { kind, k } }, to) => {
  if (kind === "sigmoid") unary("Sigmoid", x, y, to);
  else if (kind === "leaky_relu" && k === 0) unary("Relu", x, y, to);
  else if (kind === "leaky_relu") unary("LeakyRelu", x, y, to, { alpha: { float: k } });
  else throw unmapped(kind, y.name);
};

/** `name` times k, if that is not 1. */
function times(name: string, k: number, to: Emitter): string {
  if (k === 1) return name;
  return to.emit("Mul", `${name}.scaled`, [name, to.tensor(`${name}.factor`, [1], Float64Array.of(k))])[0];
}

const affineMap: Mapping<AffineAttrs> = ({ inputs: [x], outputs: [y], attrs: { k, b } }, to) => {
  const layout = to.layoutOf(x);
  let out = times(to.in(layout, x), k, to);
  if (b !== 0) out = to.emit("Add", y.name, [out, to.tensor(`${y.name}.term`, [1], Float64Array.of(b))])[0];
  to.define(y, layout, out);
};

const add: Mapping<Factors> = ({ inputs: [a, b], outputs: [y], attrs: { ka, kb } }, to) => {
  const layout = to.layoutOf(a, b);
  const terms = [times(to.in(layout, a), ka, to), times(to.in(layout, b), kb, to)];
  to.define(y, layout, to.emit("Add", y.name, terms)[0]);
};

const mul: Mapping<null> = ({ inputs: [a, b], outputs: [y] }, to) => {
  const layout = to.layoutOf(a, b);
  to.define(y, layout, to.emit("Mul", y.name, [to.in(layout, a), to.in(layout, b)])[0]);
};

const maxPool: Mapping<MaxPoolAttrs> = ({ inputs: [x], outputs: [y], attrs: { kernel, stride, padding } }, to) => {
  const four = [padding, padding, padding, padding];
  const attributes = { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: four };
  to.define(y, "map", to.emit("MaxPool", y.name, [to.in("map", x)], attributes)[0]);
};

function reduce(op: string, x: Tensor, axes: readonly number[], to: Emitter, name: string, keepdims: 0 | 1) {
  const layout = to.layoutOf(x);
  const moved = axes.map((axis) => axisIn(layout, axis)).sort((p, q) => p - q);
  // The sum has its axes as an input since opset 13, the others only from 18 on.
  const [inputs, attributes] = op === "ReduceSum" ? [[to.list(moved)], {}] : [[], { axes: moved }];
  const [out] = to.emit(op, name, [to.in(layout, x), ...inputs], { ...attributes, keepdims });
  return { layout, out };
}

const between = ({ first, last }: AxesAttrs) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

const globalMaxPool: Mapping<null> = ({ inputs: [x], outputs: [y] }, to) => {
  to.define(y, "rows", reduce("ReduceMax", x, [1, 2], to, y.name, 0).out);
};

const max: Mapping<AxesAttrs> = ({ inputs: [x], outputs: [y], attrs }, to) => {
  const { layout, out } = reduce("ReduceMax", x, between(attrs), to, y.name, 1);
  to.define(y, layout, out);
};

const sum: Mapping<SumAttrs> = ({ inputs: [x], outputs: [y], attrs }, to) => {
  const isMean = attrs.k === 1 / aroundAxes(x.shape, attrs.first, attrs.last).count;
  const { layout, out } = reduce(isMean ? "ReduceMean" : "ReduceSum", x, between(attrs), to, y.name, 1);
  to.define(y, layout, isMean ? out : times(out, attrs.k, to));
};

/** Stripes are pooled once; runs of them are windows over stripes. */
const pyramidPool: Mapping<number> = ({ inputs: [x], outputs: [y], attrs: stripes }, to) => {
  const [, rows, columns, channels] = x.shape;
  const split = to.list([0, channels, stripes, (rows / stripes) * columns]);
  const cells = to.emit("Reshape", `${y.name}.stripes`, [to.in("map", x), split]);
  const pool = (reduction: string, window: string) => {
    const [ofStripes] = to.emit(reduction, `${y.name}.${window}`, cells, { axes: [3], keepdims: 1 });
    const runs = Array.from({ length: stripes }, (_, i) => {
      const attributes = { kernel_shape: [i + 1, 1], strides: [1, 1] };
      return i === 0 ? ofStripes : to.emit(window, `${y.name}.${window}${i + 1}`, [ofStripes], attributes)[0];
    });
    return to.emit("Concat", `${y.name}.${window}s`, runs, { axis: ROWS_OF_MAP })[0];
  };
  const pools = [pool("ReduceMean", "AveragePool"), pool("ReduceMax", "MaxPool")];
  const both = to.emit("Add", `${y.name}.sum`, pools); // [N, C, runs, 1]
  const runsFirst = to.emit("Transpose", `${y.name}.runs`, both, { perm: [0, 2, 1, 3] });
  to.define(y, "rows", to.emit("Squeeze", y.name, [...runsFirst, to.list([3])])[0]);
};

const matmul: Mapping<MatmulAttrs> = ({ inputs: [a, b], outputs: [y], attrs }, to) => {
  const operand = (t: Tensor, transposed: boolean) => {
    const name = to.in("rows", t);
    return transposed ? transposeLast(name, t, to) : name;
  };
  const factors = [operand(a, attrs.transposeA), operand(b, attrs.transposeB)];
  to.define(y, "rows", to.emit("MatMul", y.name, factors)[0]);
};

function transposeLast(name: string, { shape }: Tensor, to: Emitter): string {
  const axes = shape.map((_, i) => i);
  const perm = [...axes.slice(0, -2), axes.length - 1, axes.length - 2];
  return to.emit("Transpose", `${name}.transposed`, [name], { perm })[0];
}

const transpose: Mapping<null> = ({ inputs: [x], outputs: [y] }, to) => {
  to.define(y, "rows", transposeLast(to.in("rows", x), x, to));
};

const reshape: Mapping<unknown> = ({ inputs: [x], outputs: [y] }, to) => to.defineReshaped(y, x);

const slice: Mapping<SliceAttrs> = ({ inputs: [x], outputs: [y], attrs: { axis, start, end } }, to) => {
  const layout = to.layoutOf(x);
  const range = [[start], [end], [axisIn(layout, axis)]].map((values) => to.list(values));
  to.define(y, layout, to.emit("Slice", y.name, [to.in(layout, x), ...range])[0]);
};

const split: Mapping<SplitAttrs> = ({ inputs: [x], outputs, attrs: { axis, parts } }, to) => {
  const layout = to.layoutOf(x);
  const names = to.emit("Split", outputs[0].name, [to.in(layout, x)], { axis: axisIn(layout, axis) }, parts);
  outputs.forEach((t, i) => {
    to.define(t, layout, names[i]);
  });
};

const concat: Mapping<number> = ({ inputs, outputs: [y], attrs: axis }, to) => {
  const layout = to.layoutOf(...inputs);
  const parts = inputs.map((t) => to.in(layout, t));
  to.define(y, layout, to.emit("Concat", y.name, parts, { axis: axisIn(layout, axis) })[0]);
};

const mappings: Readonly<Record<string, Mapping<never>>> = {
  conv2d,
  batchNorm,
  activation,
  affine: affineMap,
  add,
  mul,
  maxPool,
  globalMaxPool,
  max,
  sum,
  pyramidPool,
  matmul,
  transpose,
  reshape,
  slice,
  split,
  concat,
};

const unmapped = (op: string, where: string) =>
  new UserError(`${where}: the operation ${op} cannot be exported to ONNX; there is no counterpart for it here.`);

/**
 * Adds a node of the engine to an ONNX graph.
 * @throws UserError naming an op that has no counterpart
 */
export function emitNode(node: Node, to: Emitter): void {
  if (node.outputs.every((t) => to.isConstant(t))) return; // becomes a constant where it is used
  const mapping = mappings[node.op.name];
  if (!mapping) throw unmapped(node.op.name, node.outputs[0].name);
  mapping(node as Node<never>, to);
}
