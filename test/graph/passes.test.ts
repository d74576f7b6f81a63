import { test } from "uvu";
import * as assert from "uvu/assert";
import { fuse, hoist } from "#src/graph/passes.js";
import { Program, type Values } from "#src/graph/program.js";
import { Block, input, reachable, type Shape, type Tensor, variable } from "#src/graph/tensor.js";
import { add, batchNorm, conv2d, maxPool, relu, scale } from "#src/ops/index.js";
import { closeDevice, draw, evaluate, relativeError, sharedDevice, size, typed } from "../support/op.js";

let seed = 1;

/** An input, and values that are fed for it. */
function fed(feeds: Record<string, Values>, name: string, shape: Shape, positive = false): Tensor {
  const values = draw(size(shape), "uniform", seed++);
  feeds[name] = typed(positive ? values.map((v) => 0.5 + Math.abs(v)) : values);
  return input(name, shape);
}

function normalized(
  feeds: Record<string, Values>,
  name: string,
  x: Tensor,
  options: { residual?: Tensor; relu?: boolean },
) {
  const vector = (part: string, positive = false) => fed(feeds, `${name}.${part}`, [x.shape[3]], positive);
  const vectors = {
    gamma: vector("gamma"),
    beta: vector("beta"),
    runningMean: vector("mean"),
    runningVar: vector("var", true),
  };
  return batchNorm(x, vectors, { training: false, ...options }).y;
}

const opsOf = (outputs: readonly Tensor[]) => reachable(outputs).map((node) => node.op.name);

for (const channels of [5, 64]) {
  for (const withBias of [false, true]) {
    for (const summed of [false, true]) {
      for (const active of [false, true]) {
        test(`batch norm of ${channels} channels folds into a convolution${withBias ? " with bias" : ""}${summed ? ", residual" : ""}${active ? ", ReLU" : ""}`, async () => {
          const feeds: Record<string, Values> = {};
          const x = fed(feeds, "x", [2, 5, 4, channels]);
          const w = fed(feeds, "w", [3, 3, channels, channels]);
          const bias = withBias ? fed(feeds, "bias", [channels]) : undefined;
          const residual = summed ? x : undefined;
          const y = normalized(feeds, "bn", conv2d(x, w, { padding: 1, bias }), { residual, relu: active });
          const [folded] = fuse([y]);
          assert.equal(opsOf([folded]), ["batchNormAffine", "conv2d"]);
          const values = await evaluate({ y, folded }, feeds);
          assert.ok(relativeError(values.folded, values.y) < 1e-5);
        });
      }
    }
  }
}

test("a bottleneck folds all of its batch norms", async () => {
  const feeds: Record<string, Values> = {};
  const x = fed(feeds, "x", [1, 6, 6, 8]);
  const layer = (
    name: string,
    from: Tensor,
    filters: number,
    kernel: number,
    options: Parameters<typeof normalized>[3],
  ) => {
    const w = fed(feeds, `${name}.w`, [kernel, kernel, from.shape[3], filters]);
    return normalized(feeds, name, conv2d(from, w, { padding: kernel >> 1 }), options);
  };
  const inner = layer("2", layer("1", x, 4, 1, { relu: true }), 4, 3, { relu: true });
  const y = layer("3", inner, 16, 1, { relu: true, residual: layer("down", x, 16, 1, {}) });
  const [folded] = fuse([y]);
  assert.not.ok(opsOf([folded]).includes("batchNorm"));
  const values = await evaluate({ y, folded }, feeds);
  assert.ok(relativeError(values.folded, values.y) < 1e-5);
});

test("batch norm stays where its convolution is read elsewhere, where there is none, and in training", () => {
  const feeds: Record<string, Values> = {};
  const x = fed(feeds, "x", [1, 4, 4, 8]);
  const shared = conv2d(x, fed(feeds, "w", [1, 1, 8, 8]));
  const y = normalized(feeds, "shared", shared, {});
  assert.ok(opsOf(fuse([add(y, shared)])).includes("batchNorm"));
  assert.ok(opsOf(fuse([y, shared])).includes("batchNorm"), "an output is a reader, too");
  assert.ok(opsOf(fuse([normalized(feeds, "pool", maxPool(x), {})])).includes("batchNorm"));
  const vectors = {
    gamma: input("g", [8]),
    beta: input("b", [8]),
    runningMean: input("m", [8]),
    runningVar: input("v", [8]),
  };
  const trained = batchNorm(conv2d(x, fed(feeds, "w2", [1, 1, 8, 8])), vectors, { training: true }).y;
  assert.ok(opsOf(fuse([trained])).includes("batchNorm"));
});

test("what nothing reads is not computed", async () => {
  const device = await sharedDevice();
  const x = input("x", [8]);
  const used = relu(x);
  conv2d(input("never fed", [1, 1, 1, 8]), input("nor this", [1, 1, 8, 8]));
  scale(used, 2);
  const program = await Program.compile(device, { outputs: { used } });
  assert.is(program.dispatches, 1);
  assert.not.ok(program.takes("never fed"));
  program.destroy();
});

test("hoisting takes what depends on variables alone", () => {
  const block = new Block("weights");
  const w = variable("w", [8], block, 0);
  const [x, twice] = [input("x", [8]), scale(w, 2)];
  const y = add(x, relu(twice));
  const { once, values } = hoist(reachable([y]));
  assert.equal(values, [twice, y.node!.inputs[1]]);
  assert.not.ok(once.has(y.node));
});

test("hoisted values are computed once, and again after refresh()", async () => {
  const device = await sharedDevice();
  const block = new Block("weights");
  block.bytes = 32;
  block.buffer = device.buffer(block.label, block.bytes, 0x80 | 0x8);
  const write = (value: number) => device.gpu.queue.writeBuffer(block.buffer!, 0, new Float32Array(8).fill(value));
  const y = add(input("x", [8]), scale(variable("w", [8], block, 0), 2));
  const program = await Program.compile(device, { outputs: { y }, hoist: true });
  assert.is(program.dispatches, 1);
  const run = async () => (await program.run({ x: new Float32Array(8).fill(1) }, ["y"])).y[7];
  write(10);
  assert.is(await run(), 21);
  write(20);
  assert.is(await run(), 21, "nobody said that the variables had changed");
  program.refresh();
  assert.is(await run(), 41);
  assert.is(await run(), 41);
  program.destroy();
  device.release(block.buffer);
});

test.after(closeDevice);
test.run();
