/** Every distinct operation of a model's training step, run by itself on inputs of the same shapes. */
import type { Device } from "../../gpu/device.js";
import { Lowering } from "../../graph/lowering.js";
import { Program, type Values } from "../../graph/program.js";
import { apply, input, type Node, reachable, type Tensor } from "../../graph/tensor.js";
import type { ModelConfig } from "../../models/config.js";
import { ParameterStore } from "../../nn/parameters.js";
import { trainingStep } from "../../training/step.js";
import { noise } from "./model.js";
import { gpuTimes, summarize, type Times } from "./timing.js";

/** Nodes of one operation, one set of shapes and attributes. */
export interface KernelCase {
  readonly op: string;
  /** Shapes of the inputs and the first output, and what else tells the case from others of the same shapes. */
  readonly shapes: string;
  /** How often the step has it. */
  readonly count: number;
  readonly node: Node;
  readonly dispatches: number;
}

export interface KernelFigures extends Times {
  /** Of one time. */
  readonly flops: number;
  /** Bytes moved at least. */
  readonly bytes: number;
}

/** The cases of a training step, in the order in which they first appear. Makes no GPU object. */
export function kernelCases(device: Device, config: ModelConfig, batch: number): KernelCase[] {
  const images = input("images", [batch, ...config.imageSize, 3]);
  const step = trainingStep(new ParameterStore(), config, images);
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable([...Object.values(step.losses).filter((t) => t !== undefined), ...step.updates]));
  const dispatches = new Map<Node, number>();
  for (const { node } of lowering.launches) dispatches.set(node, (dispatches.get(node) ?? 0) + 1);

  const cases = new Map<string, KernelCase>();
  for (const [node, n] of dispatches) {
    const shape = (t: Tensor) => `[${t.shape.join(",")}]`;
    const shapes = `${node.inputs.map(shape).join(" ")} -> ${shape(node.outputs[0])}`;
    const key = JSON.stringify([node.op.name, shapes, node.attrs]);
    const known = cases.get(key);
    if (known) cases.set(key, { ...known, count: known.count + 1 });
    else cases.set(key, { op: node.op.name, shapes: shapes + remark(node), count: 1, node, dispatches: n });
  }
  return [...cases.values()];
}

/** Stride and groups of a convolution, which its shapes do not tell. */
function remark({ attrs }: Node): string {
  const { stride, groups } = (attrs ?? {}) as { stride?: readonly number[]; groups?: number };
  const strided = Array.isArray(stride) && stride.some((s) => s > 1) ? ` /${stride[0]}` : "";
  return strided + (groups !== undefined && groups > 1 ? ` groups ${groups}` : "");
}

/**
 * Times one case.
 * @returns null for what does not exist outside of its graph, such as gradients that are made in place
 */
export async function benchKernel(device: Device, kernel: KernelCase, runs: number): Promise<KernelFigures | null> {
  const { node } = kernel;
  const inputs = node.inputs.map((t, i) => input(`input ${i}`, t.shape, t.dtype));
  const made = apply(node.op, inputs, node.attrs);
  const outputs = Object.fromEntries(made.map((t, i) => [`output ${i}`, t]));
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable(made));
  if (lowering.launches.length !== kernel.dispatches) return null;
  const program = await Program.compile(device, { outputs });
  try {
    const times = await gpuTimes(device, program, feedsOf(node, inputs), runs + 1);
    const bytes = lowering.launches.reduce((sum, l) => sum + (l.bytes ?? 0), 0);
    // The first run finds cold caches and pages that no one has touched yet.
    return { ...summarize(times.slice(1)), flops: program.flops, bytes };
  } finally {
    program.destroy();
  }
}

/** Noise; whole maps for boxes; zeros for labels and positions. */
function feedsOf(node: Node, inputs: readonly Tensor[]): Record<string, Values> {
  const feeds: Record<string, Values> = {};
  inputs.forEach((t, i) => {
    if (t.dtype !== "f32") return;
    const boxes = node.op.name.startsWith("cropResize") && i === 1;
    feeds[t.name] = boxes ? wholeMaps(t.shape[0], node.outputs[0].shape) : noise(t.size);
  });
  return feeds;
}

function wholeMaps(images: number, [, height, width]: readonly number[]): Float32Array {
  return Float32Array.from(Array.from({ length: images }, () => [0, 0, height, width]).flat());
}
