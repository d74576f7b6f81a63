/**
 * MPN without channel attention at test time, defined once for every library without a model of its own: the names are the
 * checkpoint's, depth and number of parts are read off it.
 */

/**
 * @param b what a library makes of `layer(x, conv, norm, { stride, relu })` (convolution with padding k / 2, batch norm),
 * `maxPool(x)` (3x3, stride 2, padding 1, of values that are not negative), `addRelu(x, y)`, `globalMaxPool(x)`, `concat(xs)`
 * over channels to [N, D], and `again(x)`: x, which something later reads too
 * @param weights a Map by name
 * @returns the representation, part after part
 */
export function network(b, weights, images) {
  const block = (x, name, stride) => {
    let y = b.layer(b.again(x), `${name}.conv1`, `${name}.bn1`, { relu: true });
    y = b.layer(y, `${name}.conv2`, `${name}.bn2`, { stride, relu: true });
    y = b.layer(y, `${name}.conv3`, `${name}.bn3`);
    const projects = weights.has(`${name}.downsample.0.weight`);
    return b.addRelu(y, projects ? b.layer(x, `${name}.downsample.0`, `${name}.downsample.1`, { stride }) : x);
  };
  let x = b.maxPool(b.layer(images, "backbone.conv1", "backbone.bn1", { stride: 2, relu: true }));
  for (const [i, stride] of [1, 2, 2, 1].entries()) {
    const name = (j) => `backbone.layer${i + 1}.${j}`;
    for (let j = 0; weights.has(`${name(j)}.conv1.weight`); j++) x = block(x, name(j), j === 0 ? stride : 1);
  }
  const has = (k) => weights.has(`parts.${k}.conv1.weight`);
  const features = [];
  for (let k = 0; has(k); k++) {
    const part = `parts.${k}`;
    const chosen = b.layer(has(k + 1) ? b.again(x) : x, `${part}.conv1`, `${part}.bn1`, { relu: true });
    features.push(b.layer(b.globalMaxPool(chosen), `${part}.conv2`, `${part}.bn2`, { relu: true }));
  }
  return b.concat(features);
}

export const EPSILON = 1e-5;
/** Of the training step that all can do: the loss is the mean of the squared features, batch norm takes the batch's statistics. */
export const LEARNING_RATE = 0.01;
export const MOMENTUM = 0.9;

/** A convolution's weight [out, in, k, k] and bias [out] with its batch norm folded in. */
export function folded(weights, conv, norm) {
  const { shape, data } = weights.get(`${conv}.weight`);
  const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
    (name) => weights.get(`${norm}.${name}`).data,
  );
  const own = weights.get(`${conv}.bias`)?.data;
  const scale = gamma.map((g, c) => g / Math.sqrt(variance[c] + EPSILON));
  const each = data.length / shape[0];
  return {
    shape,
    weight: data.map((w, i) => w * scale[Math.floor(i / each)]),
    bias: beta.map((b, c) => b + ((own?.[c] ?? 0) - mean[c]) * scale[c]),
  };
}
