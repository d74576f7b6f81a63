/** The engine inside another program's frame: the caller's device, command encoder and buffers; nothing is copied. */
import { constant, conv2d, Device, input, Program, relu } from "mpn-webgpu/engine";

/** Filters for edges that grow brighter to the right and downwards (Sobel), [3, 3, 1, 2]. */
const SOBEL = Float32Array.of(-1, -1, 0, -2, 1, -1, -2, 0, 0, 0, 2, 0, -1, 1, 0, 2, 1, 1);

/**
 * Prepares an edge filter on the caller's device.
 * @param picture f32 [height, width], a storage buffer that a pass of the caller's fills; this one and the next as long as
 *   their values, rounded up to a multiple of 16 bytes
 * @param edges f32 [height, width, 2], a storage buffer that a later pass of the caller's reads
 * @returns what the caller calls between those two passes, every frame: it records, and makes no GPU object
 */
export async function edgeFilter(gpu: GPUDevice, picture: GPUBuffer, edges: GPUBuffer, height: number, width: number) {
  const x = input("picture", [1, height, width, 1]);
  const y = relu(conv2d(x, constant(SOBEL, [3, 3, 1, 2]), { padding: 1 }));
  const buffers = new Map([
    [x, picture],
    [y, edges],
  ]);
  const program = await Program.compile(Device.wrap(gpu), { outputs: { edges: y }, buffers });
  return (encoder: GPUCommandEncoder) => program.encode(encoder);
}
