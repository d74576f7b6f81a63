import { scope, type Tensor } from "../graph/tensor.js";
import { maxPool } from "../ops/index.js";
import type { Build } from "./layers.js";
import { spatialAttention } from "./spatial-attention.js";

export interface ResNetConfig {
  /** Bottleneck blocks of the four stages; ResNet-50 has [3, 4, 6, 3]. */
  readonly layers: readonly number[];
  /** Channels of the stem; stage i outputs 4 * width * 2^i. */
  readonly width: number;
  /** RGA-S after each stage (MPN*). */
  readonly spatialAttention?: boolean;
}

/**
 * ResNet with bottlenecks, the stride in the 3x3 convolution, and without the last spatial down-sampling (Sec. 3.3).
 * @param images [N, H, W, 3], normalised
 * @returns F [N, H / 16, W / 16, 32 * width] (sizes rounded up)
 */
export function resnet(b: Build, name: string, images: Tensor, config: ResNetConfig): Tensor {
  return STRIDES.reduce(
    (x, _, i) => {
      const y = stage(b, name, x, i, config);
      return config.spatialAttention ? spatialAttention(b, `${name}.attention${i + 1}`, y) : y;
    },
    stem(b, name, images, config),
  );
}

/** Strides of the four stages. */
const STRIDES = [1, 2, 2, 1];

/** What comes before the stages: 7x7 convolution and max pooling, [N, H, W, 3] -> [N, H / 4, W / 4, width]. */
export function stem(b: Build, name: string, images: Tensor, config: ResNetConfig): Tensor {
  const x = b.batchNorm(`${name}.bn1`, b.conv(`${name}.conv1`, images, config.width, 7, 2), { relu: true });
  return scope(name, () => maxPool(x));
}

/**
 * Bottleneck blocks `first` to `end` (exclusive) of stage `index` (0 to 3); all of them by default.
 * @param stride of the stage's first block
 */
export function stage(
  b: Build,
  name: string,
  x: Tensor,
  index: number,
  config: ResNetConfig,
  { first = 0, end = config.layers[index], stride = STRIDES[index] } = {},
): Tensor {
  const planes = config.width * 2 ** index;
  let y = x;
  for (let j = first; j < end; j++)
    y = bottleneck(b, `${name}.layer${index + 1}.${j}`, y, planes, j === 0 ? stride : 1);
  return y;
}

/** 1x1 -> 3x3 (with the stride) -> 1x1, each with batch norm; ReLU after the first two and after the sum. */
function bottleneck(b: Build, name: string, x: Tensor, planes: number, stride: number): Tensor {
  let y = b.batchNorm(`${name}.bn1`, b.conv(`${name}.conv1`, x, planes, 1), { relu: true });
  y = b.batchNorm(`${name}.bn2`, b.conv(`${name}.conv2`, y, planes, 3, stride), { relu: true });
  y = b.conv(`${name}.conv3`, y, planes * 4, 1);
  const keeps = stride === 1 && x.shape[3] === planes * 4;
  const residual = keeps
    ? x
    : b.batchNorm(`${name}.downsample.1`, b.conv(`${name}.downsample.0`, x, planes * 4, 1, stride));
  return b.batchNorm(`${name}.bn3`, y, { relu: true, residual });
}
