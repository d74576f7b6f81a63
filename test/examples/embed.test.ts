import { test } from "uvu";
import * as assert from "uvu/assert";
import { create, globals } from "webgpu";
import { edgeFilter } from "../../examples/embed.js";

Object.assign(globalThis, globals);

// Dawn crashes when this object is collected while a device lives.
const dawn = create([]);

const [HEIGHT, WIDTH] = [24, 40];

/** The caller's own pass before the engine's: a bright disc that moves from frame to frame. */
const DRAW = `
  @group(0) @binding(0) var<storage, read_write> picture: array<f32>;
  @group(0) @binding(1) var<uniform> centre: vec4f;
  @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    let at = vec2f(f32(id.x % ${WIDTH}), f32(id.x / ${WIDTH}));
    if (id.x < ${HEIGHT * WIDTH}) { picture[id.x] = select(0.0, 1.0, distance(at, centre.xy) < 6.0); }
  }`;

/** And the one after: both edges of a pixel in one number. */
const SHOW = `
  @group(0) @binding(0) var<storage, read> edges: array<vec2f>;
  @group(0) @binding(1) var<storage, read_write> shown: array<f32>;
  @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < ${HEIGHT * WIDTH}) { shown[id.x] = edges[id.x].x + 100.0 * edges[id.x].y; }
  }`;

function expected([x0, y0]: readonly [number, number]): number[] {
  const inside = (x: number, y: number) =>
    x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT && Math.hypot(x - x0, y - y0) < 6 ? 1 : 0;
  return Array.from({ length: HEIGHT * WIDTH }, (_, i) => {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    const across = (d: number) => inside(x + 1, y + d) - inside(x - 1, y + d);
    const down = (d: number) => inside(x + d, y + 1) - inside(x + d, y - 1);
    return Math.max(0, across(-1) + 2 * across(0) + across(1)) + 100 * Math.max(0, down(-1) + 2 * down(0) + down(1));
  });
}

test("the example runs between two passes of the caller's, in one command buffer, frame after frame", async () => {
  const adapter = await dawn.requestAdapter();
  assert.ok(adapter, "no adapter");
  const gpu = await adapter.requestDevice(); // WebGPU's default limits
  const errors: string[] = [];
  gpu.addEventListener("uncapturederror", (event) => errors.push((event as GPUUncapturedErrorEvent).error.message));
  const { STORAGE, COPY_SRC, COPY_DST, UNIFORM, MAP_READ } = GPUBufferUsage;
  const pixels = 4 * HEIGHT * WIDTH;
  const picture = gpu.createBuffer({ size: pixels, usage: STORAGE });
  const edges = gpu.createBuffer({ size: 2 * pixels, usage: STORAGE });
  const shown = gpu.createBuffer({ size: pixels, usage: STORAGE | COPY_SRC });
  const centre = gpu.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
  const readback = gpu.createBuffer({ size: pixels, usage: MAP_READ | COPY_DST });
  const pass = (code: string, ...buffers: GPUBuffer[]) => {
    const compute = { module: gpu.createShaderModule({ code }) };
    const pipeline = gpu.createComputePipeline({ layout: "auto", compute });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return (encoder: GPUCommandEncoder) => {
      const recording = encoder.beginComputePass();
      recording.setPipeline(pipeline);
      recording.setBindGroup(0, group);
      recording.dispatchWorkgroups(Math.ceil((HEIGHT * WIDTH) / 64));
      recording.end();
    };
  };
  const draw = pass(DRAW, picture, centre);
  const filter = await edgeFilter(gpu, picture, edges, HEIGHT, WIDTH);
  const show = pass(SHOW, edges, shown);

  for (const where of [
    [10.5, 12.5],
    [21, 3],
  ] as const) {
    gpu.queue.writeBuffer(centre, 0, Float32Array.of(...where, 0, 0));
    const frame = gpu.createCommandEncoder();
    draw(frame);
    filter(frame);
    show(frame);
    frame.copyBufferToBuffer(shown, 0, readback, 0, pixels);
    gpu.queue.submit([frame.finish()]);
    await readback.mapAsync(1);
    const values = new Float32Array(readback.getMappedRange().slice(0));
    readback.unmap();
    assert.equal([...values], expected(where));
  }
  assert.equal(errors, []);
  gpu.destroy();
});

test.run();
