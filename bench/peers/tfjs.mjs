/** TensorFlow.js on WebGPU: NHWC, as its convolutions are trained in no other layout. */
import { channelsLast, readTensors, serve } from "./child.mjs";
import { adapterName } from "./dawn.mjs";
import { EPSILON, folded, LEARNING_RATE, MOMENTUM, network } from "./network.mjs";

const tf = await import("@tensorflow/tfjs");
await import("@tensorflow/tfjs-backend-webgpu");

/** [out, in, k, k] as [k, k, in, out]. */
function filter([out, channels, k], data) {
  const taps = k * k;
  const values = new Float32Array(data.length);
  for (let o = 0; o < out; o++)
    for (let c = 0; c < channels; c++)
      for (let t = 0; t < taps; t++) values[(t * channels + c) * out + o] = data[(o * channels + c) * taps + t];
  return tf.tensor4d(values, [k, k, channels, out]);
}

const common = {
  again: (x) => x,
  maxPool: (x) => tf.maxPool(x, 3, 2, 1),
  addRelu: (x, y) => tf.relu(tf.add(x, y)),
  globalMaxPool: (x) => tf.max(x, [1, 2], true),
  concat: (xs) => tf.concat(xs, 3).reshape([xs[0].shape[0], -1]),
};

function inference(weights, images) {
  const layers = new Map();
  const made = (conv, norm) => {
    if (!layers.has(conv)) {
      const { shape, weight, bias } = folded(weights, conv, norm);
      layers.set(conv, { filter: tf.keep(filter(shape, weight)), bias: tf.keep(tf.tensor1d(bias)) });
    }
    return layers.get(conv);
  };
  const layer = (x, conv, norm, { stride = 1, relu = false } = {}) => {
    const { filter, bias } = made(conv, norm);
    const pad = Math.floor(filter.shape[0] / 2);
    return tf.fused.conv2d({ x, filter, bias, strides: stride, pad, activation: relu ? "relu" : "linear" });
  };
  return () => tf.tidy(() => network({ ...common, layer }, weights, images));
}

function training(weights, images) {
  const variables = new Map();
  const variable = (name) => {
    if (!variables.has(name)) {
      const { shape, data } = weights.get(name);
      variables.set(name, tf.variable(shape.length === 4 ? filter(shape, data) : tf.tensor1d(data)));
    }
    return variables.get(name);
  };
  const layer = (x, conv, norm, { stride = 1, relu = false } = {}) => {
    const w = variable(`${conv}.weight`);
    let y = tf.conv2d(x, w, stride, Math.floor(w.shape[0] / 2));
    if (weights.has(`${conv}.bias`)) y = tf.add(y, variable(`${conv}.bias`));
    const { mean, variance } = tf.moments(y, [0, 1, 2]);
    y = tf.batchNorm(y, mean, variance, variable(`${norm}.bias`), variable(`${norm}.weight`), EPSILON);
    return relu ? tf.relu(y) : y;
  };
  const loss = () => tf.tidy(() => tf.mean(tf.square(network({ ...common, layer }, weights, images))));
  const optimizer = tf.train.momentum(LEARNING_RATE, MOMENTUM);
  // minimize() trains the variables that exist before it runs.
  for (const name of weights.keys())
    if (/^(backbone|parts\.\d+\.(conv|bn)\d)\b.*\.(weight|bias)$/.test(name)) variable(name);
  return () => optimizer.minimize(loss, true, [...variables.values()]);
}

let step;
const losses = [];
let features;
await serve({
  async prepare({ mode, weights, inputs }) {
    if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs does not start its WebGPU backend");
    await tf.ready();
    const images = readTensors(inputs).get("images");
    const [n, channels, height, width] = images.shape;
    const x = tf.tensor4d(channelsLast(images), [n, height, width, channels]);
    step = (mode === "infer" ? inference : training)(readTensors(weights), x);
    return { adapter: adapterName };
  },
  async run() {
    const y = step();
    const values = await y.data();
    y.dispose();
    if (y.size === 1) losses.push(values[0]);
    else features = values;
  },
  result: () => ({ features, losses }),
  memory: () => ({ gpuBytes: tf.memory().numBytesInGPU }),
});
