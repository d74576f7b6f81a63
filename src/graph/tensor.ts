/**
 * Symbolic tensors. A model is a function from tensors to tensors; nothing runs until a program is compiled.
 * Nodes are numbered as they are made, so that number is a valid order of execution.
 */
import type { DeviceProfile } from "../gpu/device.js";
import type { Lowering } from "./lowering.js";

/** f16 is a way to keep floats in memory alone (graph/storage.ts): every kernel computes with f32. */
export type DType = "f32" | "f16" | "u32" | "i32";
export type Shape = readonly number[];

export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype?: DType;
}

/** Device memory that outlives a program: parameters, running statistics, momenta. Allocated by whoever owns it. */
export class Block {
  bytes = 0;
  buffer: GPUBuffer | null = null;
  constructor(readonly label: string) {}
}

/** Where a tensor without a node comes from. */
export type Leaf =
  | { readonly kind: "input" }
  | { readonly kind: "variable"; readonly block: Block; readonly byteOffset: number }
  | { readonly kind: "constant"; readonly data: Float32Array | Uint32Array | Int32Array }
  | { readonly kind: "scratch" };

let counter = 0;

export class Tensor {
  readonly id = counter++;
  readonly size: number;

  constructor(
    readonly shape: Shape,
    readonly dtype: DType,
    readonly name: string,
    /** The node that makes this tensor, or null for a leaf. */
    readonly node: Node | null,
    readonly leaf: Leaf | null,
  ) {
    for (const d of shape) {
      if (!Number.isInteger(d) || d < 1)
        throw new ShapeError(name, `dimensions must be positive integers, got [${shape}]`);
    }
    this.size = shape.reduce((a, b) => a * b, 1);
  }

  /** A multiple of 4, as copies and fills want. */
  get bytes(): number {
    return this.dtype === "f16" ? Math.ceil(this.size / 2) * 4 : this.size * 4;
  }

  toString(): string {
    return `${this.name}[${this.shape.join(", ")}]`;
  }
}

/**
 * An operation: its shape rule, its vector-Jacobian product as more graph, and how it becomes dispatches.
 * The graph knows operations through this interface only.
 */
export interface Op<A = unknown> {
  readonly name: string;
  outputs(inputs: readonly Tensor[], attrs: A): TensorSpec[];
  /**
   * From the gradients of the outputs (null where nothing flows back) to those of the inputs (null where there is
   * none). An op without this method stops gradients.
   */
  gradient?(node: Node<A>, grads: readonly (Tensor | null)[]): (Tensor | null)[];
  lower(node: Node<A>, to: Lowering): void;
  /** Byte offset in input 0 at which the only output lies: a view, which costs nothing. */
  viewOffset?(node: Node<A>): number;
  /** Outputs that overwrite an input: output index -> input index. Such a node is an update; it runs for its effect. */
  updates?(node: Node<A>): ReadonlyMap<number, number>;
  /** A cheaper equivalent of this node for inference, or null; `uses` counts the readers of a tensor. */
  fuse?(node: Node<A>, uses: (t: Tensor) => number): Tensor[] | null;
  /** Inputs that its kernels read, and outputs that they write, in either width where a program stores maps in halves. */
  readonly halves?: Halves;
  /** An equivalent, where this adapter has a faster one that works out what depends on variables alone beforehand. */
  prepare?(node: Node<A>, profile: DeviceProfile): Tensor[] | null;
  /** Where output 0 is cheap to make a second time: how (graph/rematerialise.ts). */
  again?(node: Node<A>): Again;
  /** An input whose moments (graph/lowering.ts) its maker may leave behind, so that no kernel has to read it for them; null for none. */
  asksMoments?(node: Node<A>): Tensor | null;
  /** Inputs, by number, that its kernels for such an adapter round to halves, so that they may as well come so; none by default. */
  rounds?(node: Node<A>, profile: DeviceProfile): readonly number[];
  /** Inputs that its kernels for such an adapter do not read, so that nobody has to make them for it; none by default. */
  unread?(node: Node<A>, profile: DeviceProfile): readonly Tensor[];
}

export interface Halves {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Outputs are maps only if an input is one: the same op also works on weights, whose shapes look alike. */
  readonly follow?: boolean;
}

export interface Again {
  /** Tensors of the node's, inputs or other outputs. */
  readonly inputs: readonly Tensor[];
  /** @param inputs what stands for those */
  make(inputs: readonly Tensor[]): Tensor;
}

export interface Node<A = unknown> {
  readonly id: number;
  readonly op: Op<A>;
  readonly inputs: readonly Tensor[];
  readonly attrs: A;
  readonly outputs: readonly Tensor[];
  readonly scope: string;
}

/** A shape that does not fit; names the layer, the shapes, and what would fit. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
  constructor(where: string, problem: string) {
    super(`${where}: ${problem}`);
  }
}

const scopes: string[] = [];

/** Names made inside `body` are prefixed; errors then say which layer of the model they mean. */
export function scope<T>(name: string, body: () => T): T {
  scopes.push(name);
  try {
    return body();
  } finally {
    scopes.pop();
  }
}

export function scopeName(name: string): string {
  return [...scopes, name].join(".");
}

/**
 * Adds a node to the graph.
 * @param narrow which f32 outputs are to be stored as f16; none by default
 */
export function apply<A>(
  op: Op<A>,
  inputs: readonly Tensor[],
  attrs: A,
  narrow?: (output: number, shape: Shape) => boolean,
): Tensor[] {
  const where = scopeName(op.name);
  let specs: TensorSpec[];
  try {
    specs = op.outputs(inputs, attrs);
  } catch (error) {
    if (error instanceof ShapeError) throw error;
    throw new ShapeError(where, `${(error as Error).message}; inputs: ${inputs.map(String).join(", ")}`);
  }
  const outputs: Tensor[] = [];
  const node: Node<A> = { id: counter++, op, inputs, attrs, outputs, scope: scopes.join(".") };
  specs.forEach(({ shape, dtype = "f32" }, i) => {
    outputs.push(new Tensor(shape, dtype === "f32" && narrow?.(i, shape) ? "f16" : dtype, where, node as Node, null));
  });
  return outputs;
}

/** A tensor fed anew for every run. */
export function input(name: string, shape: Shape, dtype: DType = "f32"): Tensor {
  return new Tensor(shape, dtype, name, null, { kind: "input" });
}

export function constant(data: Float32Array | Uint32Array | Int32Array, shape: Shape, name = "constant"): Tensor {
  const dtype = data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "i32";
  const t = new Tensor(shape, dtype, scopeName(name), null, { kind: "constant", data });
  if (t.size !== data.length) throw new ShapeError(t.name, `${data.length} values do not fill [${shape}]`);
  return t;
}

export function variable(name: string, shape: Shape, block: Block, byteOffset: number, dtype: DType = "f32"): Tensor {
  return new Tensor(shape, dtype, name, null, { kind: "variable", block, byteOffset });
}

export function scratch(name: string, shape: Shape, dtype: DType): Tensor {
  return new Tensor(shape, dtype, name, null, { kind: "scratch" });
}

/**
 * All nodes that `outputs` depend on, in order of execution.
 * @param profile of the adapter that they are lowered for: without those whose outputs its kernels do not read (`Op.unread`)
 */
export function reachable(outputs: readonly Tensor[], profile?: DeviceProfile): Node[] {
  const seen = new Set<Node>();
  const stack = outputs.map((t) => t.node);
  while (stack.length > 0) {
    const node = stack.pop();
    if (!node || seen.has(node)) continue;
    seen.add(node);
    const unread = (profile && node.op.unread?.(node, profile)) ?? [];
    for (const t of node.inputs) if (!unread.includes(t)) stack.push(t.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}
