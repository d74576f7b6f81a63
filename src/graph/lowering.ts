/** From nodes to dispatches: what an op may say when it is lowered. Pure data; no GPU object is made here. */
import type { DeviceProfile } from "../gpu/device.js";
import type { KernelSpec } from "../gpu/kernel.js";
import type { ParamValues } from "../gpu/shader.js";
import { resolve } from "./plan.js";
import { type DType, type Node, type Shape, scratch, type Tensor } from "./tensor.js";

/** One dispatch, with tensors where buffers will be. */
export interface Launch {
  readonly kernel: KernelSpec;
  /** By binding name, `params` excepted; undefined where this variant of the shader has no such binding. */
  readonly bindings: Readonly<Record<string, Tensor | undefined>>;
  readonly params?: ParamValues;
  readonly workgroups: readonly [number, number?, number?];
  /** What this kernel was chosen from, for whoever would try another one. */
  readonly problem?: object;
  /** Floating point operations and bytes moved at least once, for the profiler. */
  readonly flops?: number;
  readonly bytes?: number;
}

export interface PlacedLaunch extends Launch {
  readonly bindings: Readonly<Record<string, Tensor>>;
  readonly node: Node;
  readonly label: string;
}

/** Mean and sum of squared deviations of each channel, the last axis, by chunks of rows. */
export interface Moments {
  /** Rows of a chunk; the last one may have fewer. */
  readonly chunk: number;
  readonly chunks: number;
  /** [2, chunks, channels]: means, and sums of squared deviations from them. */
  readonly partial: Tensor;
}

const MAX_GRID = 65535;
/** What WebGPU guarantees any adapter to accept as the offset of a binding. */
export const BINDING_ALIGNMENT = 256;

/** Folds a count of workgroups into two dimensions, as one dimension holds 65535; shaders undo it by `grid.wgsl`. */
export function grid(count: number): [number, number] {
  if (count <= MAX_GRID) return [count, 1];
  const y = Math.ceil(count / MAX_GRID);
  return [Math.ceil(count / y), y];
}

export class Lowering {
  readonly launches: PlacedLaunch[] = [];
  /** Tensors that live inside another: child -> (parent, byte offset). */
  readonly placed = new Map<Tensor, { parent: Tensor; byteOffset: number }>();
  /** Tensors whose moments some reader asks for (`Op.asksMoments`), and those that their makers have left. */
  readonly asked = new Set<Tensor>();
  readonly moments = new Map<Tensor, Moments>();
  private current: Node | null = null;

  constructor(readonly profile: DeviceProfile) {}

  lower(nodes: readonly Node[]): void {
    for (const node of nodes) {
      const t = node.op.asksMoments?.(node);
      if (t) this.asked.add(t);
    }
    for (const node of nodes) {
      this.current = node;
      if (node.op.viewOffset) {
        this.placed.set(node.outputs[0], { parent: node.inputs[0], byteOffset: node.op.viewOffset(node) });
      } else {
        node.op.updates?.(node).forEach((from, to) => {
          this.placed.set(node.outputs[to], { parent: node.inputs[from], byteOffset: 0 });
        });
        node.op.lower(node, this);
      }
    }
  }

  dispatch(launch: Launch): void {
    const node = this.current!;
    const [x, y = 1, z = 1] = launch.workgroups;
    if (Math.max(x, y, z) > MAX_GRID) {
      throw new Error(
        `${node.op.name} in ${node.scope}: grid ${x} x ${y} x ${z} exceeds ${MAX_GRID} workgroups a dimension`,
      );
    }
    const bindings: Record<string, Tensor> = {};
    for (const [name, t] of Object.entries(launch.bindings)) if (t) bindings[name] = t;
    this.launches.push({ ...launch, bindings, node, label: `${node.scope ? `${node.scope}.` : ""}${node.op.name}` });
  }

  /** Memory for this node, and for those who are told of it. */
  scratch(name: string, shape: Shape, dtype: DType = "f32"): Tensor {
    return scratch(`${this.current!.op.name}.${name}`, shape, dtype);
  }

  /**
   * Lets `child` be made inside `parent`; false where it must be copied: it already lives elsewhere, or a dispatch would
   * read one part of `parent` and write another, which WebGPU forbids within one buffer.
   */
  place(child: Tensor, parent: Tensor, byteOffset: number): boolean {
    const made = child.node !== null || child.leaf?.kind === "scratch";
    if (!made || this.placed.has(child) || this.readBesideWriting(child, parent)) return false;
    this.placed.set(child, { parent, byteOffset });
    return true;
  }

  private readBesideWriting(child: Tensor, parent: Tensor): boolean {
    const target = resolve(parent, this.placed).root;
    return this.launches.some(({ node, bindings }) => {
      const tensors = Object.values(bindings);
      const of = (owner: Tensor) => tensors.filter((t) => resolve(t, this.placed).root === owner);
      const [ours, beside] = [of(child), of(target)];
      return ours.length > 0 && beside.length > 0 && [...ours, ...beside].some((t) => t.node !== node);
    });
  }
}
