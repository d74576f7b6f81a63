/**
 * Runs ONNX graphs in float64, as plainly as the operators' definitions read (onnx.ai, opset 17): a judge of exported
 * models that needs no runtime. Knows the operators that the exporter writes, and their attributes; others throw.
 */
import type { ReadModel, ReadNode } from "./onnx-reader.js";

export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

type Operator = (inputs: readonly Array64[], node: ReadNode) => Array64[];

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Calls `visit` with every index of a shape, the last axis fastest. */
function eachIndex(shape: readonly number[], visit: (index: readonly number[], at: number) => void): void {
  const index = shape.map(() => 0);
  for (let at = 0; at < sizeOf(shape); at++) {
    visit(index, at);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
}

/** An array whose elements are a function of their index. */
function make(shape: readonly number[], value: (index: readonly number[]) => number): Array64 {
  const data = new Float64Array(sizeOf(shape));
  eachIndex(shape, (index, at) => {
    data[at] = value(index);
  });
  return { shape, data };
}

/** The element at an index, whose axes in excess are left out and whose axes of size 1 are repeated (broadcasting). */
function element({ shape, data }: Array64, index: readonly number[]): number {
  const lead = index.length - shape.length;
  return data[shape.reduce((at, size, axis) => at * size + (size === 1 ? 0 : index[axis + lead]), 0)];
}

const listOf = (node: ReadNode, name: string): number[] => {
  const value = node.attributes[name];
  if (!Array.isArray(value)) throw new Error(`${node.op} needs ${name}`);
  return value;
};

const numberOf = (node: ReadNode, name: string): number => {
  const value = node.attributes[name];
  if (typeof value !== "number") throw new Error(`${node.op} needs ${name}`);
  return value;
};

const elementwise = (f: (x: number, node: ReadNode) => number): Operator => {
  return ([x], node) => [{ shape: x.shape, data: x.data.map((v) => f(v, node)) }];
};

const binary = (f: (a: number, b: number) => number): Operator => {
  return ([a, b]) => {
    const rank = Math.max(a.shape.length, b.shape.length);
    const shape = Array.from({ length: rank }, (_, i) => {
      const [p, q] = [a.shape.at(i - rank) ?? 1, b.shape.at(i - rank) ?? 1];
      if (p !== q && p !== 1 && q !== 1) throw new Error(`[${a.shape}] and [${b.shape}] do not broadcast`);
      return Math.max(p, q);
    });
    return [make(shape, (index) => f(element(a, index), element(b, index)))];
  };
};

const reduction = (start: number, step: (a: number, b: number) => number, mean: boolean): Operator => {
  return ([x, given], node) => {
    const axes = given ? [...given.data] : listOf(node, "axes");
    const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    const data = new Float64Array(sizeOf(kept)).fill(start);
    eachIndex(x.shape, (index, at) => {
      const to = kept.reduce((sum, size, axis) => sum * size + (size === 1 ? 0 : index[axis]), 0);
      data[to] = step(data[to], x.data[at]);
    });
    const count = x.data.length / data.length;
    const shape = numberOf(node, "keepdims") ? kept : x.shape.filter((_, axis) => !axes.includes(axis));
    return [{ shape, data: mean ? data.map((v) => v / count) : data }];
  };
};

/** Slides a window over [N, C, H, W]; taps outside the map are not visited. */
function windows(
  x: Array64,
  node: ReadNode,
  channels: number,
  value: (image: number, channel: number, taps: { y: number; x: number; tap: number }[]) => number,
): Array64[] {
  const [images, , height, width] = x.shape;
  const [kh, kw] = listOf(node, "kernel_shape");
  const [sy, sx] = listOf(node, "strides");
  const [top, left, bottom, right] = node.attributes.pads ? listOf(node, "pads") : [0, 0, 0, 0];
  const rows = Math.floor((height + top + bottom - kh) / sy) + 1;
  const columns = Math.floor((width + left + right - kw) / sx) + 1;
  return [
    make([images, channels, rows, columns], ([n, c, oy, ox]) => {
      const taps = Array.from({ length: kh * kw }, (_, tap) => {
        return { y: oy * sy - top + Math.floor(tap / kw), x: ox * sx - left + (tap % kw), tap };
      });
      return value(
        n,
        c,
        taps.filter((t) => t.y >= 0 && t.y < height && t.x >= 0 && t.x < width),
      );
    }),
  ];
}

const conv: Operator = ([x, w, bias], node) => {
  const [filters, perGroup, kh, kw] = w.shape;
  const [, channels, height, width] = x.shape;
  const groups = numberOf(node, "group");
  if (perGroup * groups !== channels || filters % groups !== 0) throw new Error(`[${w.shape}] on [${x.shape}]`);
  if ([kh, kw].join() !== listOf(node, "kernel_shape").join()) throw new Error("kernel_shape is not that of w");
  return windows(x, node, filters, (n, filter, taps) => {
    const first = Math.floor(filter / (filters / groups)) * perGroup;
    let sum = bias?.data[filter] ?? 0;
    for (const t of taps) {
      for (let c = 0; c < perGroup; c++) {
        const at = ((n * channels + first + c) * height + t.y) * width + t.x;
        sum += x.data[at] * w.data[(filter * perGroup + c) * kh * kw + t.tap];
      }
    }
    return sum;
  });
};

const pool = (reduce: (values: readonly number[]) => number): Operator => {
  return ([x], node) =>
    windows(x, node, x.shape[1], (n, c, taps) => reduce(taps.map((t) => element(x, [n, c, t.y, t.x]))));
};

const matmul: Operator = ([a, b]) => {
  const depth = a.shape.at(-1)!;
  const lead = a.shape.slice(0, -2);
  if (depth !== b.shape.at(-2) || lead.join() !== b.shape.slice(0, -2).join()) {
    throw new Error(`[${a.shape}] by [${b.shape}]`);
  }
  return [
    make([...lead, a.shape.at(-2)!, b.shape.at(-1)!], (index) => {
      const [before, row, column] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!];
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += element(a, [...before, row, k]) * element(b, [...before, k, column]);
      return sum;
    }),
  ];
};

const slice: Operator = ([x, starts, ends, axes, steps]) => {
  const shape = [...x.shape];
  const from = x.shape.map(() => 0);
  const step = x.shape.map(() => 1);
  axes.data.forEach((axis, i) => {
    const size = x.shape[axis];
    step[axis] = steps?.data[i] ?? 1;
    const [least, most] = step[axis] > 0 ? [0, size] : [-1, size - 1];
    const place = (v: number) => Math.min(most, Math.max(least, v < 0 ? v + size : v));
    from[axis] = place(starts.data[i]);
    shape[axis] = Math.ceil((place(ends.data[i]) - from[axis]) / step[axis]);
  });
  return [
    make(shape, (index) =>
      element(
        x,
        index.map((v, axis) => from[axis] + v * step[axis]),
      ),
    ),
  ];
};

const OPERATORS: Readonly<Record<string, Operator>> = {
  Conv: conv,
  MaxPool: pool((values) => Math.max(...values)),
  AveragePool: pool((values) => values.reduce((a, b) => a + b, 0) / values.length),
  MatMul: matmul,
  Add: binary((a, b) => a + b),
  Mul: binary((a, b) => a * b),
  Relu: elementwise((v) => Math.max(0, v)),
  LeakyRelu: elementwise((v, node) => (v < 0 ? v * numberOf(node, "alpha") : v)),
  Sigmoid: elementwise((v) => 1 / (1 + Math.exp(-v))),
  ReduceMax: reduction(-Infinity, Math.max, false),
  ReduceMean: reduction(0, (a, b) => a + b, true),
  ReduceSum: reduction(0, (a, b) => a + b, false),
  Transpose([x], node) {
    const perm = listOf(node, "perm");
    return [
      make(
        perm.map((axis) => x.shape[axis]),
        (index) =>
          element(
            x,
            x.shape.map((_, axis) => index[perm.indexOf(axis)]),
          ),
      ),
    ];
  },
  Reshape([x, sizes]) {
    const shape = Array.from(sizes.data, (size, axis) => (size === 0 ? x.shape[axis] : size));
    const open = shape.indexOf(-1);
    if (open >= 0) shape[open] = x.data.length / -sizeOf(shape);
    if (sizeOf(shape) !== x.data.length) throw new Error(`[${x.shape}] cannot become [${shape}]`);
    return [{ shape, data: x.data }];
  },
  Squeeze: ([x, axes]) => [{ shape: x.shape.filter((_, axis) => !axes.data.includes(axis)), data: x.data }],
  Slice: slice,
  Split([x], node) {
    const axis = numberOf(node, "axis");
    const size = x.shape[axis] / node.outputs.length;
    const shape = x.shape.with(axis, size);
    return node.outputs.map((_, k) => make(shape, (index) => element(x, index.with(axis, index[axis] + k * size))));
  },
  Concat(inputs, node) {
    const axis = numberOf(node, "axis");
    const owners = inputs.flatMap((t, k) => Array.from({ length: t.shape[axis] }, (_, at) => ({ k, at })));
    return [
      make(inputs[0].shape.with(axis, owners.length), (index) => {
        const { k, at } = owners[index[axis]];
        return element(inputs[k], index.with(axis, at));
      }),
    ];
  },
};

/** The outputs of a model, by name. Throws where a node reads what no earlier one has made. */
export function runOnnx(model: ReadModel, feeds: Readonly<Record<string, Array64>>): Map<string, Array64> {
  const values = new Map<string, Array64>(Object.entries(feeds));
  for (const [name, { shape, data }] of model.tensors)
    values.set(name, { shape, data: Float64Array.from(data, Number) });
  for (const node of model.nodes) {
    const inputs = node.inputs.map((name) => {
      const value = values.get(name);
      if (!value) throw new Error(`${node.op} reads ${name} before it is made`);
      return value;
    });
    const operator = OPERATORS[node.op];
    if (!operator) throw new Error(`the operator ${node.op} is not known here`);
    const outputs = operator(inputs, node);
    node.outputs.forEach((name, i) => {
      if (values.has(name)) throw new Error(`${name} is made twice`);
      values.set(name, outputs[i]);
    });
  }
  return new Map(model.outputs.map(({ name }) => [name, values.get(name)!]));
}
