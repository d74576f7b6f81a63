/** What a run records for each dispatch: everything is prepared, so that it sets a pipeline and a bind group and nothing else. */
import type { PlacedLaunch } from "./lowering.js";

export interface Prepared {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly launch: PlacedLaunch;
}

export function record(pass: GPUComputePassEncoder, p: Prepared): void {
  pass.setPipeline(p.pipeline);
  pass.setBindGroup(0, p.group);
  pass.dispatchWorkgroups(...p.grid);
}

/** The dispatch in a pass of its own, as timestamps are taken of passes. */
export function recordAlone(
  encoder: GPUCommandEncoder,
  p: Prepared,
  timestampWrites?: GPUComputePassTimestampWrites,
): void {
  const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
  record(pass, p);
  pass.end();
}
