import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { Device, matrixUnitsOf } from "#src/gpu/device.js";
import { closeDevice, sharedDevice } from "../support/op.js";
import { paperUnits } from "../support/profile.js";

const [STORAGE, MAP_READ, COPY_SRC, COPY_DST] = [0x80, 0x1, 0x4, 0x8];

test("a device tells what it is", async () => {
  const { profile } = await sharedDevice();
  assert.ok(profile.name.length > 0);
  assert.ok(profile.maxBindingBytes >= 128 * 2 ** 20);
  assert.ok(profile.maxBufferBytes >= profile.maxBindingBytes);
});

test("matrix units are those of f16 whose sums are f32, the most work an instruction, in subgroups of a known size", () => {
  const config = (componentType: string, resultComponentType: string, M: number, N = M, K = M) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  });
  type Configs = readonly ReturnType<typeof config>[];
  const units = (
    subgroupMatrixConfigs: Configs,
    features = ["shader-f16"],
    [subgroupMinSize, subgroupMaxSize] = [32, 32],
  ) => matrixUnitsOf({ subgroupMatrixConfigs, subgroupMinSize, subgroupMaxSize }, new Set(["subgroups", ...features]));
  const nvidia = [
    config("f16", "f16", 16),
    config("f16", "f32", 16, 8, 8),
    config("f16", "f32", 16, 8, 16),
    config("f16", "f32", 16),
    config("i8", "i32", 16, 16, 32),
  ];
  assert.equal(units(nvidia), paperUnits(16));
  assert.is(units(nvidia, []), undefined, "no f16 in shaders");
  assert.equal(units(nvidia.slice(0, 3)), paperUnits(16, { n: 8 }), "of those without squares the deepest");
  const apple = [config("f32", "f32", 8), config("f16", "f32", 8)];
  assert.equal(units(apple), paperUnits(8));
  assert.equal(units(apple, []), paperUnits(8, { components: "f32" }));
  const intel = [config("f16", "f32", 8, 16, 16)];
  const both = ["shader-f16", "subgroup-size-control"];
  assert.equal(
    units(intel, both, [16, 32]),
    paperUnits(8, { n: 16, k: 16, lanes: 16 }),
    "the smaller size is asked for",
  );
  assert.is(units(intel, ["shader-f16"], [16, 32]), undefined, "nor can it be asked for");
  assert.is(units([config("f16", "f32", 64, 64, 16)]), undefined, "larger than the kernels' tiles are made of");
  assert.is(units([config("f16", "f16", 16)]), undefined, "sums of f16");
  assert.is(matrixUnitsOf({}, new Set(["shader-f16", "subgroups"])), undefined);
});

test("matrix units are there where they were asked for and the adapter has some; nothing else changes", async () => {
  const { profile } = await sharedDevice();
  assert.is(profile.matrixUnits, undefined, "nobody asked");
  const device = await Device.open({ matrixUnits: true });
  const { matrixUnits, features, ...rest } = device.profile;
  assert.equal(matrixUnits, matrixUnitsOf(device.adapterInfo, new Set(features)));
  assert.equal({ ...rest, features: profile.features }, profile);
  device.close();
});

test("a robust device clamps indices, so that what is out of bounds shows", async () => {
  const device = await Device.open({ robust: true });
  const module = device.gpu.createShaderModule({
    code: `
      @group(0) @binding(0) var<storage, read> a: array<f32>;
      @group(0) @binding(1) var<storage, read_write> b: array<f32>;
      @compute @workgroup_size(1) fn main() { let i = u32(a[0]); b[0] = a[i]; b[i] = 7; }`,
  });
  const pipeline = await device.gpu.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const [a, b] = ["a", "b"].map((label) => device.buffer(label, 16, STORAGE | COPY_SRC | COPY_DST));
  const read = device.buffer("read", 16, MAP_READ | COPY_DST);
  device.gpu.queue.writeBuffer(a, 0, Float32Array.of(9, 1, 2, 3));
  const encoder = device.gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [a, b].map((buffer, binding) => ({ binding, resource: { buffer } }));
  pass.setBindGroup(0, device.bindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(b, 0, read, 0, 16);
  device.gpu.queue.submit([encoder.finish()]);
  await device.wait(read.mapAsync(MAP_READ));
  assert.equal([...new Float32Array(read.getMappedRange())], [3, 0, 0, 7]);
  device.close();
});

test("a validation error, which WebGPU does not throw, surfaces in check(), once", async () => {
  const device = await sharedDevice();
  device.check("nothing");
  device.gpu.createBuffer({ label: "contradiction", size: 16, usage: MAP_READ | STORAGE });
  await settled(() =>
    assert.throws(() => device.check("making a buffer"), /WebGPU error while making a buffer: .*usage/is),
  );
  device.check("going on");
});

test("an error of the GPU surfaces where a program's values are read", async () => {
  const device = await sharedDevice();
  device.gpu.createBuffer({ size: 16, usage: MAP_READ | STORAGE });
  const error = await device.idle().then(
    () => null,
    (e: Error) => e,
  );
  assert.match(error?.message ?? "", /WebGPU error while waiting for the GPU/);
});

test("buffers are counted, in objects and in bytes", async () => {
  const device = await sharedDevice();
  const [objects, bytes] = [device.objectsMade, device.bufferBytes];
  const buffers = [device.buffer("a", 100, STORAGE), device.buffer("b", 1, STORAGE)];
  assert.is(device.objectsMade, objects + 2);
  assert.is(device.bufferBytes, bytes + 112 + 16);
  assert.ok(device.peakBufferBytes >= bytes + 128);
  for (const b of buffers) device.release(b);
  assert.is(device.bufferBytes, bytes);
});

test("values of more than one piece lie where they were uploaded, zeros around them", async () => {
  const device = await sharedDevice();
  const data = Float32Array.from({ length: 600_001 }, (_, i) => i);
  const buffer = device.buffer("values", 4 * (data.length + 8), STORAGE | COPY_SRC | COPY_DST);
  device.touch([buffer]);
  device.upload(buffer, 16, data);
  const staging = device.buffer("readback", buffer.size, MAP_READ | COPY_DST);
  const encoder = device.gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.gpu.queue.submit([encoder.finish()]);
  await device.wait(staging.mapAsync(MAP_READ));
  const read = new Float32Array(staging.getMappedRange());
  assert.equal(read.slice(0, 4), new Float32Array(4));
  assert.equal(read.slice(4, 4 + data.length), data);
  assert.ok(read.slice(4 + data.length).every((v) => v === 0));
  staging.unmap();
  for (const b of [buffer, staging]) device.release(b);
  device.check("uploading");
});

test("a buffer larger than the adapter allows is refused by name and size", async () => {
  const device = await sharedDevice();
  const { maxBufferBytes, name } = device.profile;
  const error = thrown(() => device.buffer("the momenta", 2 ** 50, STORAGE));
  assert.instance(error, UserError);
  for (const part of ["the momenta", String(2 ** 50), name, String(maxBufferBytes)])
    assert.ok(error.message.includes(part), error.message);
});

test("the same kernel is compiled once; a bad one names its file and what is wrong", async () => {
  const device = await sharedDevice();
  const spec = { shader: "sum_partials", defines: { SHARE: 0, AHEAD: false } } as const;
  const first = await device.kernels.get(spec);
  assert.is(await device.kernels.get({ ...spec, defines: { SHARE: 0, AHEAD: false }, entryPoint: "main" }), first);
  const error = await device.kernels.get({ shader: "elem" }).then(
    () => null,
    (e: Error) => e,
  );
  assert.match(error?.message ?? "", /elem\.wgsl/);
});

test("a device that belongs to another program is left open", async () => {
  const { gpu } = await sharedDevice();
  const wrapped = Device.wrap(gpu);
  assert.is(wrapped.gpu, gpu);
  assert.is(wrapped.profile.maxBindingBytes, gpu.limits.maxStorageBufferBindingSize);
  wrapped.close();
  const buffer = wrapped.buffer("after close", 16, STORAGE);
  wrapped.check("using the device after close()");
  wrapped.release(buffer);
});

test("waiting passes values and errors on", async () => {
  const device = await sharedDevice();
  assert.is(await device.wait(new Promise<number>((resolve) => setTimeout(resolve, 5, 42))), 42);
  const error = await device.wait(Promise.reject(new Error("mapped already"))).catch((e: Error) => e);
  assert.is((error as Error).message, "mapped already");
});

/** Uncaptured errors are events: they come a moment after the call. */
async function settled(body: () => void): Promise<void> {
  await (await sharedDevice()).gpu.queue.onSubmittedWorkDone();
  body();
}

function thrown(body: () => void): Error {
  try {
    body();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

test.after(closeDevice);
test.run();
