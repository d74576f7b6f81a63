import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { Program } from "#src/graph/program.js";
import { Block, input, reachable, variable } from "#src/graph/tensor.js";
import { pack, scale, sgd } from "#src/ops/index.js";
import { closeDevice, draw, relativeError, sharedDevice, typed } from "../support/op.js";
import { paperProfile } from "../support/profile.js";

test("flat buffers larger than a binding are updated in ranges that can be bound", async () => {
  const shared = await sharedDevice();
  // The same adapter, as if it could bind 1000 bytes at once.
  const profile = { value: { ...shared.profile, maxBindingBytes: 1000 } };
  const device: Device = Object.create(shared, { profile });
  const size = 500;
  const blocks = [new Block("weights"), new Block("momenta")];
  for (const block of blocks) {
    block.bytes = 4 * size;
    block.buffer = device.buffer(block.label, block.bytes, 0x80 | 0x4 | 0x8);
  }
  const [w, g] = [draw(size, "uniform", 1), draw(240, "uniform", 2)];
  device.gpu.queue.writeBuffer(blocks[0].buffer!, 0, Float32Array.from(w));
  const flat = blocks.map((block) => variable(block.label, [size], block, 0));
  const gradient = scale(input("gradient", [240]), 2);
  const packed = pack([gradient], [768], size);
  const [weights] = sgd(flat[0], flat[1], packed, input("hyper", [4]));
  const program = await Program.compile(device, { outputs: { weights } });
  assert.is(program.dispatches, 1 + 3, "scale, and ranges of 192, 192 and 116 floats");
  const feeds = { gradient: typed(g), hyper: Float32Array.of(0.5, 0, 0, 0) };
  const after = (await program.run(feeds, ["weights"])).weights;
  const expected = w.map((v, i) => (i >= 192 && i < 432 ? v - g[i - 192] : v));
  assert.ok(relativeError(after.subarray(192, 432), expected.subarray(192, 432)) < 1e-6);
  program.destroy();
  for (const block of blocks) device.release(block.buffer!);
});

test("parameter groups learn at rates of their own", async () => {
  const device = await sharedDevice();
  const blocks = [new Block("weights"), new Block("momenta")];
  for (const block of blocks) {
    block.bytes = 4 * 256;
    block.buffer = device.buffer(block.label, block.bytes, 0x80 | 0x4 | 0x8);
  }
  const [w, v] = blocks.map((block) => variable(block.label, [256], block, 0));
  const ranges = [
    { end: 64, factor: 0.25 },
    { end: 192, factor: 1 },
    { end: 256, factor: 2 },
  ];
  const [weights, momenta] = sgd(w, v, input("gradient", [256]), input("hyper", [4]), ranges);
  const program = await Program.compile(device, { outputs: { weights, momenta } });
  assert.is(program.dispatches, 3);
  const feeds = { gradient: new Float32Array(256).fill(1), hyper: Float32Array.of(0.5, 0.5, 0, 0) };
  await program.run(feeds, []);
  const after = await program.run(feeds, ["weights", "momenta"]);
  // Velocities 1 and 1.5, which no rate changes.
  assert.ok(after.momenta.every((m) => m === 1.5));
  after.weights.forEach((value, i) => {
    assert.is(value, -2.5 * 0.5 * (i < 64 ? 0.25 : i < 192 ? 1 : 2));
  });
  program.destroy();
  for (const block of blocks) device.release(block.buffer!);
  assert.throws(() => sgd(w, v, input("gradient", [256]), input("hyper", [4]), [{ end: 64, factor: 1 }]), /end at 256/);
});

test("one dispatch where the whole can be bound", () => {
  const tensors = ["weights", "momenta", "gradients"].map((name) => input(name, [1000]));
  const lowering = new Lowering(paperProfile({ maxBindingBytes: 4000 - (4000 % 256) + 256 }));
  lowering.lower(reachable(sgd(tensors[0], tensors[1], tensors[2], input("hyper", [4]))));
  assert.is(lowering.launches.length, 1);
});

test.after(closeDevice);
test.run();
