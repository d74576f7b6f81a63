/** Every distinct operation of a model's training step, run by itself on inputs of the same shapes. */
import type { Device } from "../../gpu/device.js";
import { Lowering } from "../../graph/lowering.js";
import { Program, type Values } from "../../graph/program.js";
import { apply, input, type Node, reachable, type Tensor } from "../../graph/tensor.js";
import type { ModelConfig } from "../../models/config.js";
import { ParameterStore } from "../../nn/parameters.js";
import { noise, training } from "./model.js";
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
  /** What the step is fed, by name. */
  readonly fed: () => Readonly<Record<string, Values>>;
}

export interface KernelFigures extends Times {
  /** Of one time. */
  readonly flops: number;
  /** Bytes moved at least. */
  readonly bytes: number;
}

/** The cases of a training step, in the order in which they first appear. Makes no GPU object. */
export function kernelCases(device: Device, config: ModelConfig, batch: number): KernelCase[] {
  const { graph, values } = training(new ParameterStore(), config, batch);
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable([...Object.values(graph.outputs), ...graph.updates], device.profile));
  const dispatches = new Map<Node, number>();
  for (const { node } of lowering.launches) dispatches.set(node, (dispatches.get(node) ?? 0) + 1);

  let made: ReturnType<typeof values> | undefined;
  const fed = () => {
    made ??= values();
    return made;
  };
  const cases = new Map<string, KernelCase>();
  for (const [node, n] of dispatches) {
    const shape = (t: Tensor) => `[${t.shape.join(",")}]`;
    const shapes = `${node.inputs.map(shape).join(" ")} -> ${shape(node.outputs[0])}`;
    const key = JSON.stringify([node.op.name, shapes, node.attrs]);
    const known = cases.get(key);
    if (known) cases.set(key, { ...known, count: known.count + 1 });
    else cases.set(key, { op: node.op.name, shapes: shapes + remark(node), count: 1, node, dispatches: n, fed });
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
  const { made, outputs } = alone(kernel.node);
  const lowering = new Lowering(device.profile);
  lowering.lower(reachable(made, device.profile));
  if (lowering.launches.length !== kernel.dispatches) return null;
  const program = await Program.compile(device, { outputs });
  try {
    const times = await gpuTimes(device, program, await feedsOf(device, kernel.node, kernel.fed()), runs + 1);
    const bytes = lowering.launches.reduce((sum, l) => sum + (l.bytes ?? 0), 0);
    // The first run finds cold caches and pages that no one has touched yet.
    return { ...summarize(times.slice(1)), flops: program.flops, bytes };
  } finally {
    program.destroy();
  }
}

/** The operation on inputs of its own. */
function alone({ op, inputs, attrs }: Node) {
  const made = apply(
    op,
    inputs.map((t, i) => input(`input ${i}`, t.shape, t.dtype)),
    attrs,
  );
  return { made, outputs: Object.fromEntries(made.map((t, i) => [`output ${i}`, t])) };
}

/**
 * What the step itself is fed, such as labels and boxes; where it would take what an operation has found, such as the positions
 * of maxima, what that one finds in noise; and noise.
 */
async function feedsOf(
  device: Device,
  { inputs }: Node,
  fed: Readonly<Record<string, Values>>,
): Promise<Record<string, Values>> {
  const feeds: Record<string, Values> = {};
  for (const [i, t] of inputs.entries()) {
    if (!t.node) feeds[`input ${i}`] = fed[t.name] ?? noise(t.size);
    else if (t.dtype === "f32") feeds[`input ${i}`] = noise(t.size);
    else feeds[`input ${i}`] = await foundBy(device, t.node, t.node.outputs.indexOf(t), fed);
  }
  return feeds;
}

async function foundBy(device: Device, node: Node, output: number, fed: Readonly<Record<string, Values>>) {
  const name = `output ${output}`;
  const program = await Program.compile(device, { outputs: { [name]: alone(node).made[output] } });
  try {
    return (await program.run(await feedsOf(device, node, fed), [name]))[name];
  } finally {
    program.destroy();
  }
}
