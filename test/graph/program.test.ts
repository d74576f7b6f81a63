import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "#src/gpu/device.js";
import type { Lowering } from "#src/graph/lowering.js";
import { Program } from "#src/graph/program.js";
import { apply, constant, input, type Op, type Tensor } from "#src/graph/tensor.js";
import { add, conv2d, mul, relu, reshape, scale, sum } from "#src/ops/index.js";
import { closeDevice, sharedDevice } from "../support/op.js";
import { paperProfile, paperUnits } from "../support/profile.js";

const [STORAGE, COPY_SRC, COPY_DST, MAP_READ] = [0x80, 0x4, 0x8, 0x1];

/** y = 2 x + z and its sum. */
async function example() {
  const device = await sharedDevice();
  const y = add(scale(input("x", [4]), 2), input("z", [4]));
  return { device, program: await Program.compile(device, { outputs: { y, total: sum(y) } }) };
}

const four = (v: number) => new Float32Array(4).fill(v);

test("outputs are read by name, inputs stay as fed until they are fed again", async () => {
  const { program } = await example();
  const first = await program.run({ x: four(1), z: four(3) }, ["y", "total"]);
  assert.equal([...first.y], [5, 5, 5, 5]);
  assert.equal([...first.total], [20]);
  assert.equal([...(await program.run({ x: four(2) }, ["y"])).y], [7, 7, 7, 7]);
  assert.equal(await program.run({ z: four(0) }), {}, "nothing asked, nothing read");
  assert.equal([...(await program.run({}, ["total"])).total], [16]);
  program.destroy();
});

test("in a steady state no GPU object is made, and no pipeline", async () => {
  const { device, program } = await example();
  const run = () => program.run({ x: four(1), z: four(3) }, ["y"]);
  await run();
  const [objects, kernels, bytes] = [device.objectsMade, device.kernels.size, device.bufferBytes];
  for (let i = 0; i < 5; i++) await run();
  assert.equal([device.objectsMade, device.kernels.size, device.bufferBytes], [objects, kernels, bytes]);
  program.destroy();
});

test("several runs may be in flight; each reads its own values, and their readbacks are reused", async () => {
  const { device, program } = await example();
  const runs = () => Promise.all([1, 2, 3].map((v) => program.run({ x: four(v), z: four(0) }, ["y"])));
  const values = await runs();
  assert.equal(
    values.map(({ y }) => y[3]),
    [2, 4, 6],
  );
  const objects = device.objectsMade;
  await runs();
  await runs();
  assert.is(device.objectsMade, objects);
  program.destroy();
});

test("all types are read as they are", async () => {
  const [u, i] = [input("u", [2], "u32"), input("i", [3], "i32")];
  const program = await Program.compile(await sharedDevice(), {
    outputs: { u: reshape(u, [2, 1]), i, c: constant(Int32Array.of(-5), [1]) },
  });
  const values = await program.run({ u: Uint32Array.of(4e9, 1), i: Int32Array.of(-1, 0, 7) }, ["u", "i", "c"]);
  assert.equal(values, { u: Uint32Array.of(4e9, 1), i: Int32Array.of(-1, 0, 7), c: Int32Array.of(-5) });
  program.destroy();
});

test("unknown names and wrong lengths are refused by name", async () => {
  const { program } = await example();
  assert.throws(() => program.feed({ w: four(1) }), /no input w; it has x, z/);
  assert.throws(() => program.feed({ x: new Float32Array(3) }), /x\[4\] takes 16 bytes, got 12/);
  assert.throws(() => program.feed({ x: new Float32Array(5) }), /x\[4\] takes 16 bytes, got 20/);
  assert.throws(() => program.locate("loss"), /no output loss; it has y, total/);
  assert.ok(program.takes("x"));
  assert.not.ok(program.takes("w"));
  program.destroy();
});

test("raw bytes may fill an input in part, to the byte", async () => {
  const bytes = input("bytes", [2], "u32");
  const program = await Program.compile(await sharedDevice(), { outputs: { bytes } });
  const { bytes: read } = await program.run({ bytes: Uint8Array.of(1, 2, 3, 4, 5) }, ["bytes"]);
  assert.equal([...read], [0x04030201, 5]);
  program.destroy();
});

test("two inputs of one name are refused", async () => {
  const device = await sharedDevice();
  const y = add(input("x", [4]), input("x", [4]));
  await rejects(Program.compile(device, { outputs: { y } }), /Two inputs are called x/);
});

test("destroy gives all memory back", async () => {
  const device = await sharedDevice();
  const before = device.bufferBytes;
  const { program } = await example();
  await program.run({ x: four(1), z: four(3) }, ["y"]);
  assert.ok(device.bufferBytes > before);
  program.destroy();
  assert.is(device.bufferBytes, before);
});

test("memory is reported by what it is for", async () => {
  const y = relu(mul(relu(input("x", [256])), constant(new Float32Array(512), [2, 256])));
  const program = await Program.compile(await sharedDevice(), { outputs: { y } });
  assert.equal(program.memory, { intermediates: 4096, live: 4096, inputs: 1024, constants: 2048, variables: 0 });
  program.destroy();
});

test("encode records into the caller's encoder, on the caller's device and buffers", async () => {
  const { gpu } = await sharedDevice();
  const device = Device.wrap(gpu);
  const buffer = (usage: number) => gpu.createBuffer({ size: 16, usage });
  const [theirX, theirY] = [buffer(STORAGE | COPY_DST), buffer(STORAGE | COPY_SRC)];
  const staging = buffer(MAP_READ | COPY_DST);
  const x = input("x", [4]);
  const y = add(scale(x, 2), constant(Float32Array.of(1, 2, 3, 4), [4]));
  const program = await Program.compile(device, {
    outputs: { y },
    buffers: new Map([
      [x, theirX],
      [y, theirY],
    ]),
  });
  assert.is(program.locate("y").buffer, theirY);
  const objects = device.objectsMade;
  for (const v of [10, 20]) {
    gpu.queue.writeBuffer(theirX, 0, four(v));
    const encoder = gpu.createCommandEncoder();
    program.encode(encoder);
    encoder.copyBufferToBuffer(theirY, 0, staging, 0, 16);
    gpu.queue.submit([encoder.finish()]);
    await device.wait(staging.mapAsync(MAP_READ));
    assert.equal(
      [...new Float32Array(staging.getMappedRange())],
      [1, 2, 3, 4].map((c) => 2 * v + c),
    );
    staging.unmap();
  }
  assert.is(device.objectsMade, objects);
  program.destroy();
  device.close();
  gpu.queue.writeBuffer(theirX, 0, four(1)); // destroy and close leave what is the caller's
  device.check("using the caller's buffer");
  for (const b of [theirX, theirY, staging]) b.destroy();
});

test("an output that is a view of another tensor has no buffer of its own to be written to", async () => {
  const device = await sharedDevice();
  const x = input("x", [4]);
  const y = reshape(scale(x, 2), [2, 2]);
  const theirs = device.buffer("theirs", 16, STORAGE);
  await rejects(
    Program.compile(device, { outputs: { y }, buffers: new Map([[y, theirs]]) }),
    /reshape\[2, 2\] shares memory; it cannot be written to a caller's buffer/,
  );
  device.release(theirs);
});

test("a caller's buffer without room for whole vectors is refused by name", async () => {
  const device = await sharedDevice();
  const x = input("x", [5]);
  const buffers = [20, 32].map((size) => device.gpu.createBuffer({ size, usage: STORAGE | COPY_DST }));
  const compiled = (buffer: GPUBuffer) =>
    Program.compile(device, { outputs: { y: scale(x, 2) }, buffers: new Map([[x, buffer]]) });
  await rejects(
    compiled(buffers[0]),
    /The buffer for x\[5\] holds 20 bytes; make it 32, .* of which 20 are its values/,
  );
  const program = await compiled(buffers[1]);
  device.gpu.queue.writeBuffer(buffers[1], 0, Float32Array.of(1, 2, 3, 4, 5));
  assert.equal([...(await program.run({}, ["y"])).y], [2, 4, 6, 8, 10]);
  program.destroy();
  for (const b of buffers) b.destroy();
});

test("a program keeps off the matrix units where it is asked to", async () => {
  const real = await sharedDevice();
  const profile = {
    ...paperProfile({ software: false, subgroupSize: 32 }),
    matrixUnits: paperUnits(16),
  };
  const seen = new Set<string>();
  const kernels = {
    get: (spec: { shader: string }) => {
      seen.add(spec.shader);
      const refused = Promise.reject(new Error("that is all"));
      refused.catch(() => {}); // As the cache's own: whoever awaits it hears of it.
      return refused;
    },
  };
  const device = Object.create(real, { profile: { value: profile }, kernels: { value: kernels } });
  const y = conv2d(input("x", [1, 64, 1, 64]), input("w", [1, 1, 64, 64]));
  for (const matrixUnits of [undefined, false])
    await rejects(Program.compile(device, { outputs: { y }, matrixUnits }), /that is all/);
  assert.equal([...seen], ["conv_matrix", "conv_tiled"]);
});

/** An op whose launcher may disagree with shaders/sum_partials.wgsl, which binds partial, y and params (size, splits). */
function launching(
  bindings: (x: Tensor, y: Tensor) => Record<string, Tensor>,
  params: Record<string, number>,
): Op<null> {
  return {
    name: "broken",
    outputs: ([x]) => [{ shape: x.shape }],
    lower({ inputs: [x], outputs: [y] }, to: Lowering) {
      to.dispatch({
        kernel: { shader: "sum_partials", defines: { SHARE: 0, AHEAD: false } },
        bindings: bindings(x, y),
        params,
        workgroups: [1],
      });
    },
  };
}

for (const [what, op, message] of [
  [
    "a binding that is not given",
    launching((_, y) => ({ y }), { size: 1, splits: 1 }),
    /broken: sum_partials\.wgsl binds partial, which the launcher does not give/,
  ],
  [
    "a binding that the shader lacks",
    launching((x, y) => ({ partial: x, y, bias: x }), { size: 1, splits: 1 }),
    /broken: sum_partials\.wgsl does not bind bias/,
  ],
  [
    "a parameter that is not given",
    launching((x, y) => ({ partial: x, y }), { size: 1 }),
    /sum_partials: params\.splits was not given/,
  ],
] as const)
  test(`a launcher that disagrees with its shader fails when compiled: ${what}`, async () => {
    const y = apply(op, [input("x", [4])], null)[0];
    await rejects(Program.compile(await sharedDevice(), { outputs: { y } }), message);
  });

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => null,
    (e: Error) => e,
  );
  assert.ok(error, "nothing was refused");
  assert.match(error.message, message);
}

test.after(closeDevice);
test.run();
