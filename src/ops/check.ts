/** Shape checks shared by the ops; `apply` adds the layer's name to what they throw. */
import type { Tensor } from "../graph/tensor.js";

export function expectRank(t: Tensor, rank: number, what: string): void {
  if (t.shape.length !== rank) throw new Error(`expected ${what} (rank ${rank}), got [${t.shape}]`);
}

export function expectShape(t: Tensor, shape: readonly number[], what: string): void {
  if (t.shape.join() !== shape.join()) throw new Error(`${what} must be [${shape}], got [${t.shape}]`);
}

export function expectLabels(labels: Tensor, rows: number): void {
  expectShape(labels, [rows], "labels, one for each row,");
  if (labels.dtype !== "i32") throw new Error(`labels must be i32, got ${labels.dtype}`);
}
