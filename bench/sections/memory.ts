/** GPU memory of the training step, by the plan, against what PyTorch holds for the same step. */
import { availableParallelism } from "node:os";
import { workload } from "#src/cli/bench/model.js";
import { mebibytes } from "#src/cli/bench/timing.js";
import type { DeviceProfile } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { updatesEarly } from "#src/graph/passes.js";
import { planMemory } from "#src/graph/plan.js";
import { reachable, type Tensor } from "#src/graph/tensor.js";
import type { ModelConfig } from "#src/models/config.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { CaseFiles } from "../case-files.js";
import type { Context } from "../options.js";
import { Peer } from "../peer.js";
import type { SectionReport } from "../report.js";
import { findSystems } from "../systems.js";
import { withoutAttention } from "./step.js";

export interface Planned {
  /** Parameters, momenta and running statistics. */
  readonly variables: number;
  readonly inputs: number;
  readonly constants: number;
  /** The plan's slots: activations, gradients and scratch. */
  readonly intermediates: number;
  /** The most of them that is live at once. */
  readonly live: number;
  readonly total: number;
}

/** Bytes that `Program.compile` would allocate for a training step. Makes no GPU object. */
export function plannedBytes(profile: DeviceProfile, config: ModelConfig, batch: number): Planned {
  const { graph } = workload(new ParameterStore(), { config, mode: "train", batch });
  const outputs = Object.values(graph.outputs).filter((t): t is Tensor => t !== undefined);
  const roots = [...outputs, ...("updates" in graph ? graph.updates : [])];
  const nodes = reachable(roots, profile);
  const lowering = new Lowering(profile);
  lowering.lower(updatesEarly(nodes));
  const { slotBytes, liveBytes } = planMemory(lowering, outputs, profile, batch);
  const leaves = new Set([...nodes.flatMap((node) => node.inputs), ...roots].filter((t) => t.leaf));
  const bytes = { input: 0, constant: 0 };
  const blocks = new Map<object, number>();
  for (const t of leaves) {
    const { leaf } = t;
    if (leaf?.kind === "variable") blocks.set(leaf.block, leaf.block.bytes);
    else if (leaf?.kind === "input" || leaf?.kind === "constant") bytes[leaf.kind] += bufferSize(t.bytes);
  }
  const add = (sizes: Iterable<number>) => [...sizes].reduce((sum, size) => sum + size, 0);
  const variables = add(blocks.values());
  const intermediates = add(slotBytes);
  const { input: inputs, constant: constants } = bytes;
  const total = variables + inputs + constants + intermediates;
  return { variables, inputs, constants, intermediates, live: liveBytes, total };
}

/** As `Device.buffer` makes them. */
const bufferSize = (bytes: number) => Math.max(16, Math.ceil(bytes / 16) * 16);

export async function memory({
  size,
  set,
  memoryBatch: batch,
  limitSeconds,
  say,
  systems,
  abilities,
  open,
}: Context): Promise<SectionReport> {
  const device = await open();
  try {
    const ours = plannedBytes(device.profile, withoutAttention({ size, set }), batch);
    const torch = await torchBytes();
    const rows = [
      ["", "mpn-webgpu, planned", "PyTorch"],
      [
        "parameters, momenta, running statistics",
        ours.variables,
        torch && sum(torch, "parameters", "momenta", "statistics"),
      ],
      ["gradients of parameters", null, torch && sum(torch, "gradients")],
      ["inputs and constants", ours.inputs + ours.constants, torch && sum(torch, "inputs")],
      ["intermediates (PyTorch: saved for the backward pass)", ours.intermediates, torch && sum(torch, "saved")],
      ["all of these", ours.total, torch && sum(torch, "held")],
      ["most at once, by PyTorch's allocator", null, torch?.peak ? torch.peak : null],
    ].map((row) => row.map((cell) => (cell === null ? "-" : typeof cell === "number" ? mebibytes(cell) : cell)));
    const toHeld = torch && ours.total / sum(torch, "held");
    const toPeak = torch?.peak ? ours.total / torch.peak : null;
    return {
      title: `Memory of the training step, batch ${batch}, images of ${size.join("x")}`,
      notes: [
        "Ours: every buffer that the plan allocates, gradients among the intermediates. PyTorch on the CPU, the same step: what it holds when the forward pass has ended, every storage that autograd saved counted once; and the most at once by its allocator's own events during a step.",
        ...(torch ? [] : [`PyTorch was not measured: ${absence}`]),
        ...(toHeld
          ? [
              `Ours is ${toHeld.toFixed(3)} of what PyTorch holds${toPeak ? `, ${toPeak.toFixed(3)} of its most at once` : ""}.`,
            ]
          : []),
      ],
      tables: [{ rows }],
      data: { batch, size, ours, torch, toHeld, toPeak },
    };
  } finally {
    device.close();
  }

  async function torchBytes(): Promise<Record<string, number> | null> {
    const system = findSystems(systems, abilities).present.find(({ name }) => name === "torch");
    if (!system) return null;
    say("PyTorch");
    const files = await CaseFiles.create(device, [`imageSize=[${size}]`, ...set]);
    const peer = new Peer(system.name, system.command, process.env, limitSeconds);
    try {
      const { weights, model } = files;
      const inputs = await files.inputs(batch);
      const job = { mode: "step", batch, weights, inputs, model, threads: availableParallelism() } as const;
      await peer.ask("prepare", { ...job, lr: 0.001, momentum: 0.9, weightDecay: 5e-4 });
      return (await peer.ask("memory")) as Record<string, number>;
    } finally {
      await peer.close();
      files.remove();
    }
  }
}

const absence = "it is not among the systems, or not installed.";
const sum = (counted: Record<string, number>, ...names: string[]) =>
  names.reduce((total, name) => total + counted[name], 0);
