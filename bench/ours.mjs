/** This engine as a child of the comparison (bench/peers/child.mjs): `ours.mjs [float32|float16] [matrix|clamps]`. */
import { taken, workload } from "#src/cli/bench/model.js";
import { Program } from "#src/graph/program.js";
import { input } from "#src/graph/tensor.js";
import { modelOf } from "#src/models/index.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { usableUnits } from "#src/ops/conv-matrix.js";
import { mean, mul } from "#src/ops/index.js";
import { openCheckpoint } from "#src/training/checkpoint.js";
import { modelConfigOf } from "#src/training/config.js";
import { lossScalingOf } from "#src/training/loss-scale.js";
import { minimise } from "#src/training/step.js";
import { openTuned } from "#src/tuning/open.js";
import { channelsLast, readTensors, serve } from "./peers/child.mjs";

const [precision = "float32", variant] = process.argv.slice(2);

/** The step that every peer can do: the loss is the mean of the squared features. */
function squares(store, config, batch) {
  const build = new Build(store, true);
  const features = modelOf(config).represent(build, config, input("images", [batch, ...config.imageSize, 3]));
  const total = mean(mul(features, features));
  const lossScaling = lossScalingOf({ precision, lossScale: "dynamic" });
  const { updates, lossScale } = minimise(build, total, { lossScaling });
  return { graph: { outputs: { total }, updates }, lossScale: lossScale?.memory };
}

let device;
let program;
let outputs;
let latest;
const losses = [];
await serve({
  async prepare({ mode, batch, weights, inputs, lr, momentum, weightDecay }) {
    const checkpoint = await openCheckpoint(weights);
    const config = modelConfigOf(checkpoint.config, checkpoint.pids.length);
    device = await openTuned(
      { warn: console.error, note() {} },
      { matrixUnits: variant === "matrix", robust: variant === "clamps" && "default" },
    );
    const { name, software, tuned } = device.profile;
    if (variant === "matrix" && !usableUnits(device.profile))
      throw new Error(`${name} has no matrix units that the kernels can use`);
    const store = new ParameterStore();
    const whole = workload(store, { config, mode: mode === "infer" ? "infer" : "train", batch, precision });
    const own = mode === "train" ? new ParameterStore() : store;
    const { graph, lossScale } = mode === "train" ? squares(own, config, batch) : whole;
    own.allocate(device, null);
    lossScale?.allocate(device);
    // Values are loaded while Dawn's threads compile, as by `mpn extract`.
    [program] = await Promise.all([
      Program.compile(device, { ...graph, precision, batch }),
      checkpoint.restore(device, own).finally(checkpoint.close),
    ]);
    outputs = mode === "infer" ? ["features"] : ["total"];
    const images = channelsLast(readTensors(inputs).get("images"));
    const hyper = Float32Array.of(lr, momentum, weightDecay, 0);
    program.feed(taken(program, { ...(mode === "step" && whole.values()), images, hyper }));
    return { adapter: name, software, flops: program.flops, tuned: Object.keys(tuned).length };
  },
  async run() {
    latest = await program.run({}, outputs);
    if (latest.total) losses.push(latest.total[0]);
  },
  result: () => ({ features: latest.features, losses }),
  memory: () => ({ gpuBytes: device.peakBufferBytes }),
});
