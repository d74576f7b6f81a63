/** Adapters on paper, and the products that convolutions pose them. */
import type { DeviceProfile } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { input, reachable } from "#src/graph/tensor.js";
import type { ConvProblem } from "#src/ops/conv-choice.js";
import { conv2d, gradients, mul, sum } from "#src/ops/index.js";
import { paperProfile } from "./profile.js";

export const VENDORS = ["nvidia", "amd", "intel", "apple", "somebody"];

export const gpu = (vendor: string, given: Partial<DeviceProfile> = {}) =>
  paperProfile({ software: false, vendor, subgroupSize: 32, ...given });

/** The problems of a convolution and its gradients. */
export function problems(
  x: readonly number[],
  w: readonly number[],
  options: Parameters<typeof conv2d>[2] = {},
): ConvProblem[] {
  const inputs = [input("x", x), input("w", w)];
  const y = conv2d(inputs[0], inputs[1], options);
  const [dx, dw] = gradients(sum(mul(y, input("dy", y.shape))), inputs);
  const lowering = new Lowering(paperProfile());
  lowering.lower(reachable([y, dx!, dw!]));
  return lowering.launches.flatMap(({ problem }) => (problem as ConvProblem) ?? []);
}

export const forward = (...args: Parameters<typeof problems>) => problems(...args)[0];
export const of = (gather: ConvProblem["gather"], ...args: Parameters<typeof problems>) =>
  problems(...args).find((problem) => problem.gather === gather)!;

/** ResNet-50's convolutions on 384 x 128 images, by batch. */
export const shapes = (batch: number) =>
  [
    problems([batch, 384, 128, 3], [7, 7, 3, 64], { stride: 2, padding: 3 }),
    problems([batch, 96, 32, 64], [3, 3, 64, 64], { padding: 1 }),
    problems([batch, 96, 32, 256], [1, 1, 256, 64]),
    problems([batch, 96, 32, 128], [3, 3, 128, 128], { stride: 2, padding: 1 }),
    problems([batch, 24, 8, 1024], [1, 1, 1024, 2048]),
    problems([batch, 24, 8, 512], [3, 3, 512, 512], { padding: 1 }),
    problems([batch, 24, 8, 2048], [1, 1, 2048, 3072], { groups: 6, split: "rows" }),
  ]
    .flat()
    // Nobody asks for the gradient by the picture.
    .filter(({ cols }) => cols > 3);
