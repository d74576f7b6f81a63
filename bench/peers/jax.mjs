/** jax-js on WebGPU: one jit of the network, or one of value and gradient and one of SGD. A use that is not an array's last takes `.ref`. */
import { readTensors, serve } from "./child.mjs";
import { adapterName } from "./dawn.mjs";
import { EPSILON, folded, LEARNING_RATE, MOMENTUM, network } from "./network.mjs";

const jax = await import("@jax-js/jax");
const { numpy: np, lax, nn, tree } = jax;

const array = (data, shape) => np.array(data).reshape(shape);
/** A vector over channels, as it meets [N, C, H, W]. */
const overChannels = (data) => array(data, [1, data.length, 1, 1]);

const common = {
  again: (x) => x.ref,
  // Values are not negative, so that zeros are no other padding than -infinity.
  maxPool: (x) => lax.reduceWindow(np.pad(x, { 2: [1, 1], 3: [1, 1] }), (v) => np.max(v), [3, 3], [2, 2]),
  addRelu: (x, y) => nn.relu(x.add(y)),
  globalMaxPool: (x) => np.max(x, [2, 3], { keepdims: true }),
  concat: (xs) => {
    const [n] = xs[0].shape;
    return np.concatenate(xs, 1).reshape([n, -1]);
  },
};

function convolve(x, weight, stride) {
  const pad = Math.floor(weight.shape[2] / 2);
  return lax.convGeneralDilated(
    x,
    weight,
    [stride, stride],
    [
      [pad, pad],
      [pad, pad],
    ],
  );
}

/** Every layer's arrays by the name of its convolution. */
function parameters(weights, training) {
  const made = {};
  for (const name of weights.keys()) {
    const match = /^(.*)\.(conv(\d?)|downsample\.0)\.weight$/.exec(name);
    if (!match || name.includes("aux_")) continue;
    const conv = `${match[1]}.${match[2]}`;
    const norm = match[2] === "downsample.0" ? `${match[1]}.downsample.1` : `${match[1]}.bn${match[3]}`;
    if (training) {
      const { shape, data } = weights.get(name);
      const bias = weights.get(`${conv}.bias`);
      made[conv] = {
        weight: array(data, shape),
        gamma: overChannels(weights.get(`${norm}.weight`).data),
        beta: overChannels(weights.get(`${norm}.bias`).data),
        ...(bias && { bias: overChannels(bias.data) }),
      };
    } else {
      const { shape, weight, bias } = folded(weights, conv, norm);
      made[conv] = { weight: array(weight, shape), bias: overChannels(bias) };
    }
  }
  return made;
}

function inference(weights, images) {
  const params = parameters(weights, false);
  const run = jax.jit((p, x) =>
    network(
      {
        ...common,
        layer(input, conv, _, { stride = 1, relu = false } = {}) {
          const y = convolve(input, p[conv].weight, stride).add(p[conv].bias);
          return relu ? nn.relu(y) : y;
        },
      },
      weights,
      x,
    ),
  );
  return async () => ({ features: await run(tree.ref(params), images.ref).data() });
}

function training(weights, images) {
  const layer =
    (p) =>
    (input, conv, _, { stride = 1, relu = false } = {}) => {
      const { weight, gamma, beta, bias } = p[conv];
      let y = convolve(input, weight, stride);
      if (bias) y = y.add(bias);
      const centred = y.ref.sub(np.mean(y, [0, 2, 3], { keepdims: true }));
      const variance = np.mean(np.square(centred.ref), [0, 2, 3], { keepdims: true });
      y = centred.mul(gamma.div(np.sqrt(variance.add(EPSILON)))).add(beta);
      return relu ? nn.relu(y) : y;
    };
  const lossAndGradient = jax.jit(
    jax.valueAndGrad((p, x) => np.mean(np.square(network({ ...common, layer: layer(p) }, weights, x)))),
  );
  const sgd = jax.jit((p, momenta, gradients) => {
    const moved = tree.map((m, g) => m.mul(MOMENTUM).add(g), momenta, gradients);
    return [tree.map((w, m) => w.sub(m.mul(LEARNING_RATE)), p, tree.ref(moved)), moved];
  });
  let params = parameters(weights, true);
  let momenta = tree.map((w) => np.zerosLike(w.ref), params);
  return async () => {
    const [loss, gradients] = lossAndGradient(tree.ref(params), images.ref);
    [params, momenta] = sgd(params, momenta, gradients);
    const [value] = await loss.data();
    await jax.blockUntilReady(params);
    return { loss: value };
  };
}

let step;
const losses = [];
let features;
await serve({
  async prepare({ mode, weights, inputs }) {
    if (!(await jax.init("webgpu")).includes("webgpu")) throw new Error("jax-js does not start its WebGPU backend");
    jax.defaultDevice("webgpu");
    const { shape, data } = readTensors(inputs).get("images");
    step = (mode === "infer" ? inference : training)(readTensors(weights), array(data, shape));
    return { adapter: adapterName };
  },
  async run() {
    const made = await step();
    if (made.loss !== undefined) losses.push(made.loss);
    else features = made.features;
  },
  result: () => ({ features, losses }),
});
