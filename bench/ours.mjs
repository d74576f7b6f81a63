/** This engine as a child of the comparison (bench/peers/child.mjs). */
import { taken, workload } from "#src/cli/bench/model.js";
import { Device } from "#src/gpu/device.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { mean, mul } from "#src/ops/index.js";
import { openCheckpoint } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import { minimise } from "#src/training/step.js";
import { channelsLast, readTensors, serve } from "./peers/child.mjs";

/** The step that every peer can do: the loss is the mean of the squared features. */
function squares(store, config, batch) {
  const build = new Build(store, true);
  const features = modelOf(config).represent(build, config, input("images", [batch, ...config.imageSize, 3]));
  const total = mean(mul(features, features));
  return { outputs: { total }, updates: minimise(build, total).updates };
}

let device;
let program;
let outputs;
let feeds;
let latest;
const losses = [];
await serve({
  async prepare({ mode, batch, weights, inputs, lr, momentum, weightDecay }) {
    const checkpoint = await openCheckpoint(weights);
    const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
    device = await Device.open();
    const store = new ParameterStore();
    const { graph, values } = workload(store, { config, mode: mode === "infer" ? "infer" : "train", batch });
    const own = mode === "train" ? new ParameterStore() : store;
    const compiled = mode === "train" ? squares(own, config, batch) : graph;
    own.allocate(device, null);
    // Values are loaded while Dawn's threads compile, as by `mpn extract`.
    [program] = await Promise.all([
      Program.compile(device, { ...compiled, batch }),
      checkpoint.restore(device, own).finally(checkpoint.close),
    ]);
    outputs = mode === "infer" ? ["features"] : ["total"];
    const images = channelsLast(readTensors(inputs).get("images"));
    const hyper = Float32Array.of(lr, momentum, weightDecay, 0);
    feeds = taken(program, { ...(mode === "step" && values()), images, hyper });
    const { name, software } = device.profile;
    return { adapter: name, software, flops: program.flops };
  },
  async run() {
    latest = await program.run(feeds, outputs);
    if (latest.total) losses.push(latest.total[0]);
  },
  result: () => ({ features: latest.features, losses }),
  memory: () => ({ gpuBytes: device.peakBufferBytes }),
});
