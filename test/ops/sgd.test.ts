import { test } from "uvu";
import * as assert from "uvu/assert";
import { Program } from "#src/graph/program.js";
import { Block, input, variable } from "#src/graph/tensor.js";
import { pack, reshape, scale, sgd, slice } from "#src/ops/index.js";
import { closeDevice, draw, evaluate, relativeError, sharedDevice, typed } from "../support/op.js";

interface Hyper {
  readonly rate: number;
  readonly momentum: number;
  readonly decay: number;
  readonly nesterov: boolean;
}

/** torch.optim.SGD without dampening, in float64; overwrites w and v. */
function step(w: Float64Array, v: Float64Array, gradient: Float64Array, h: Hyper): void {
  for (let i = 0; i < w.length; i++) {
    const g = gradient[i] + h.decay * w[i];
    v[i] = h.momentum * v[i] + g;
    w[i] -= h.rate * (h.nesterov ? g + h.momentum * v[i] : v[i]);
  }
}

/** The largest difference: weights of about 1 may meet 0 on the way. */
const furthest = (actual: ArrayLike<number>, expected: Float64Array) =>
  Math.max(...expected.map((v, i) => Math.abs(v - actual[i])));

const STORAGE_COPIED = 0x80 | 0x4 | 0x8;

for (const size of [1, 6, 1000]) {
  for (const hyper of [
    { rate: 0.1, momentum: 0, decay: 0, nesterov: false },
    { rate: 0.1, momentum: 0.9, decay: 0, nesterov: false },
    { rate: 0.05, momentum: 0.9, decay: 5e-4, nesterov: false },
    { rate: 0.05, momentum: 0.9, decay: 0.01, nesterov: true },
  ]) {
    test(`5 steps over ${size} weights, ${JSON.stringify(hyper)}`, async () => {
      const device = await sharedDevice();
      const blocks = [new Block("weights"), new Block("momenta")];
      for (const block of blocks) {
        block.bytes = 4 * size;
        block.buffer = device.buffer(block.label, block.bytes, STORAGE_COPIED);
      }
      const [w, v] = [draw(size, "uniform", 1), new Float64Array(size)];
      device.gpu.queue.writeBuffer(blocks[0].buffer!, 0, Float32Array.from(w));
      const flat = blocks.map((block) => variable(block.label, [size], block, 0));
      const [weights, momenta] = sgd(flat[0], flat[1], input("gradient", [size]), input("hyper", [4]));
      const program = await Program.compile(device, { outputs: { weights, momenta } });
      for (let i = 0; i < 5; i++) {
        // The rate changes on the way, as a schedule's does.
        const now = { ...hyper, rate: i < 3 ? hyper.rate : hyper.rate / 10 };
        const gradient = draw(size, "uniform", 10 + i);
        const feeds = {
          gradient: typed(gradient),
          hyper: Float32Array.of(now.rate, now.momentum, now.decay, Number(now.nesterov)),
        };
        const values = await program.run(feeds, ["weights", "momenta"]);
        step(w, v, gradient, now);
        assert.ok(furthest(values.weights, w) < 1e-6, `weights after step ${i + 1}`);
        assert.ok(furthest(values.momenta, v) < 1e-6, `momenta after step ${i + 1}`);
      }
      program.destroy();
      for (const block of blocks) device.release(block.buffer!);
    });
  }
}

test("pack makes tensors in place, and copies views, inputs and what is packed twice", async () => {
  const x = input("x", [5, 3]);
  const doubled = scale(x, 2);
  const table = scale(x, 3);
  const tensors = [doubled, reshape(table, [15]), x, slice(table, 0, 1, 2), doubled];
  const floats = 64;
  const packed = pack(
    tensors,
    tensors.map((_, i) => 4 * floats * i),
    floats * tensors.length,
  );
  const values = draw(15, "uniform", 4);
  const { flat } = await evaluate({ flat: packed }, { x: typed(values) });
  const expected = [
    values.map((v) => 2 * v),
    values.map((v) => 3 * v),
    values,
    values.map((v) => 3 * v).subarray(3, 6),
    values.map((v) => 2 * v),
  ];
  expected.forEach((e, i) => {
    const got = flat.subarray(floats * i, floats * i + e.length);
    assert.ok(relativeError(got, e) < 1e-6, `entry ${i} is ${got}`);
  });
});

test("pack copies a tensor that another packed one is made from", async () => {
  const x = input("x", [70]);
  const first = scale(x, 2);
  const second = scale(first, 3);
  const { flat } = await evaluate(
    { flat: pack([first, second], [0, 512], 256) },
    { x: Float32Array.from({ length: 70 }, (_, i) => i) },
  );
  assert.equal([flat[69], flat[128], flat[128 + 69]], [138, 0, 414]);
});

test("flat buffers of different sizes are refused", () => {
  const hyper = input("hyper", [4]);
  assert.throws(() => sgd(input("w", [8]), input("m", [8]), input("g", [4]), hyper), /flat buffers of different sizes/);
});

test.after(closeDevice);
test.run();
