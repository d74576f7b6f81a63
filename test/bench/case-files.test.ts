import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { runOnce, taken, workload } from "#src/cli/bench/model.js";
import { readSafetensors } from "#src/formats/safetensors.js";
import { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { readCheckpoint, restore } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import { CaseFiles } from "../../bench/case-files.js";
import { compareCase, type Outcome } from "../../bench/compare.js";
import type { Job } from "../../bench/peer.js";
import { plannedBytes } from "../../bench/sections/memory.js";
import { measureRecording } from "../../bench/sections/step.js";
import { SYSTEMS } from "../../bench/systems.js";
import { TINY_SETTINGS, temporaryFolder } from "../support/tiny.js";

const IDENTITIES = 4;
const device = await Device.open();
const files = await CaseFiles.create(device, TINY_SETTINGS, IDENTITIES);
const checkpoint = await readCheckpoint(files.weights);
const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
const work = { config, mode: "train", batch: 4 } as const;

const options = {
  rounds: 2,
  budgetSeconds: 60,
  limitSeconds: 120,
  restartWithinSeconds: 0,
  starts: 3,
  warmCache: true,
  say: () => {},
};
const jobOf = async (mode: Job["mode"], lr: number): Promise<Job> => {
  const { weights, model } = files;
  return {
    mode,
    batch: 4,
    weights,
    model,
    inputs: await files.inputs(4),
    threads: 1,
    lr,
    momentum: 0.9,
    weightDecay: 0,
  };
};

test("the weights come back as they were written, momenta and classifiers included in what a step needs", async () => {
  assert.equal([config.identities, config.channelAttention, config.width], [IDENTITIES, false, 4]);
  const store = new ParameterStore();
  workload(store, work);
  store.allocate(device, null);
  restore(device, store, checkpoint);
  const values = await store.read(device);
  assert.equal([...values.keys()].sort(), [...checkpoint.weights.keys()].sort());
  for (const [name, { shape, data }] of values) {
    assert.equal([...shape], [...checkpoint.weights.get(name)!.shape], name);
    assert.equal(data, checkpoint.weights.get(name)!.data, name);
  }
  const variance = values.get("backbone.bn1.running_var")!.data;
  assert.ok(new Set(variance).size > 1, "statistics that an evaluation notices");
  store.destroy(device);
});

test("a child reads the same values from the file as this engine does", async () => {
  const command = {
    file: process.execPath,
    args: [fileURLToPath(new URL("./fake-child.mjs", import.meta.url)), "reader", `${temporaryFolder()}/log`, "good"],
  };
  const [outcome] = await compareCase([{ ...SYSTEMS[0], command }], await jobOf("infer", 0), options);
  const { tensors } = await readSafetensors(await files.inputs(4));
  assert.equal((outcome as Outcome).features, tensors.get("images")!.data);
  assert.equal([...tensors.get("images")!.shape], [4, 3, 48, 16]);
  assert.equal([...tensors.get("labels")!.data], [0, 0, 1, 1]);
});

test("this engine as a child infers, and trains by both losses", async () => {
  const run = async (mode: Job["mode"], lr: number) => {
    const [outcome] = await compareCase([SYSTEMS[0]], await jobOf(mode, lr), options);
    assert.not.ok("failed" in outcome, JSON.stringify(outcome));
    return outcome as Outcome;
  };
  const inference = await run("infer", 0);
  assert.is(inference.features!.length, 4 * config.parts * config.partDim);
  assert.ok(inference.features!.every(Number.isFinite));
  assert.ok(inference.flops! > 0 && inference.gpuBytes! > 0);
  for (const mode of ["train", "step"] as const) {
    const { losses, flops, features } = await run(mode, 0.01);
    assert.is(features, null);
    assert.is(losses.length, 3);
    assert.ok(losses[2] < losses[0], `${mode}: ${losses}`);
    assert.ok(flops! > 2 * inference.flops!);
  }
});

test("the memory that is planned is what a program takes, and a recorded step makes no object", async () => {
  const store = new ParameterStore();
  const { graph, values } = workload(store, work);
  store.allocate(device, 0);
  const program = await Program.compile(device, graph);
  const { variables, inputs, constants, intermediates, live } = program.memory;
  const planned = plannedBytes(device.profile, config, 4);
  const { total, ...parts } = planned;
  assert.equal(parts, { variables, inputs, constants, intermediates, live });
  assert.is(total, variables + inputs + constants + intermediates);

  await runOnce(program, taken(program, values()), graph.outputs);
  const made = device.objectsMade;
  const { minMs, medianMs, maxMs } = await measureRecording(device, program);
  assert.ok(minMs > 0 && minMs <= medianMs && medianMs <= maxMs);
  assert.is(device.objectsMade, made);
  program.destroy();
  store.destroy(device);
});

test.after(() => {
  files.remove();
  device.close();
});
test.run();
