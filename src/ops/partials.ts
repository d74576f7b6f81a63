/** Sums whose terms are split among workgroups: parts beside each other in memory, added in fixed order (shaders/sum_partials.wgsl). */
import { grid, type Lowering } from "../graph/lowering.js";
import type { Tensor } from "../graph/tensor.js";

/** Memory for `splits` parts of y, each padded to whole vec4; y itself where there is one part. */
export function partialSums(to: Lowering, y: Tensor, splits: number): { partial: Tensor; padded: number } {
  const padded = Math.ceil(y.size / 4) * 4;
  return { partial: splits > 1 ? to.scratch("partial", [splits, padded]) : y, padded };
}

/** Parts from which a GPU's lanes share those of a vec4, where there are fewer vec4 than it has lanes. */
const MANY_PARTS = 8;
const FEW_SUMS = 2 ** 15;

/** y = the sum of the parts; nothing to do where y is the only one. */
export function sumPartials(to: Lowering, partial: Tensor, y: Tensor): void {
  if (partial === y) return;
  const [splits, padded] = partial.shape;
  const size = padded / 4;
  const share = !to.profile.software && splits >= MANY_PARTS && size < FEW_SUMS ? 16 : 0;
  to.dispatch({
    kernel: { shader: "sum_partials", defines: { SHARE: share, AHEAD: share === 0 && !to.profile.software } },
    bindings: { partial, y },
    params: { size, splits },
    workgroups: grid(Math.ceil(size / (share > 0 ? 16 : 64))),
    bytes: partial.bytes + y.bytes,
  });
}
