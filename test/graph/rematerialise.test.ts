import { test } from "uvu";
import * as assert from "uvu/assert";
import { Lowering } from "#src/graph/lowering.js";
import { updatesEarly } from "#src/graph/passes.js";
import { planMemory } from "#src/graph/plan.js";
import { rematerialise } from "#src/graph/rematerialise.js";
import { Block, input, type Node, reachable, type Tensor, variable } from "#src/graph/tensor.js";
import { parseModelConfig } from "#src/models/config.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { add, batchNorm, conv2d, gradients, maskMultiply, relu, reshape, scale, sgd, sum } from "#src/ops/index.js";
import { pack } from "#src/ops/sgd.js";
import { partLabels, trainingStep } from "#src/training/step.js";
import { closeDevice, draw, evaluate, sameBits, sharedDevice, typed } from "../support/op.js";
import { paperProfile } from "../support/profile.js";

const CONFIG = parseModelConfig({
  layers: [1, 2, 1, 1],
  width: 4,
  imageSize: [48, 16],
  parts: 3,
  partDim: 8,
  identities: 2,
  channelAttention: true,
});

function stepOf(recompute: boolean, config = CONFIG) {
  const store = new ParameterStore();
  const images = input("images", [4, ...config.imageSize, 3]);
  return { store, step: trainingStep(store, config, images, { recompute }) };
}

test("a training step without the maps it makes again has the same gradients, to the bit", async () => {
  const device = await sharedDevice();
  const labels = Int32Array.of(0, 0, 1, 1);
  const feeds = {
    images: typed(draw(4 * 48 * 16 * 3, "uniform", 5)),
    mask: typed(draw(4 * 3, "uniform", 6).map((v) => (v > 0 ? 1 : 0))),
    roi: Float32Array.from([0, 1, 2, 3].flatMap((i) => [i % 2, 0, 3, 1])),
    labels,
    partLabels: partLabels(labels, CONFIG),
  };
  const [kept, again] = await Promise.all(
    [false, true].map(async (recompute) => {
      const { store, step } = stepOf(recompute);
      store.allocate(device, 3);
      const outputs = Object.fromEntries(step.gradients.map((t, i) => [String(i), t]));
      const values = await evaluate({ total: step.losses.total, ...outputs }, feeds);
      store.destroy(device);
      return { values, step };
    }),
  );
  const made = (step: { gradients: readonly Tensor[] }) =>
    reachable(step.gradients).filter((node) => node.op.name === "batchNormApply").length;
  assert.is(made(kept.step), 0);
  assert.ok(made(again.step) >= 10, `${made(again.step)} maps are made again`);
  for (const [name, value] of Object.entries(kept.values)) assert.ok(sameBits(value, again.values[name]), name);
});

test("it needs less memory", () => {
  const live = (recompute: boolean) => {
    const { step } = stepOf(recompute, { ...CONFIG, layers: [3, 4, 6, 3], imageSize: [192, 64] });
    const profile = paperProfile();
    const lowering = new Lowering(profile);
    lowering.lower(updatesEarly(reachable([step.losses.total, ...step.updates])));
    return planMemory(lowering, [step.losses.total], profile).liveBytes;
  };
  assert.ok(live(true) < 0.7 * live(false), `${live(true)} of ${live(false)} bytes`);
});

/** x, then `count` times relu(bn(conv(y)) + y), as the blocks of a ResNet's stage. */
function blocks(count: number): { maps: Tensor[]; loss: Tensor; w: Tensor[] } {
  const vectors = () => ({
    gamma: input("gamma", [4]),
    beta: input("beta", [4]),
    runningMean: input("mean", [4]),
    runningVar: input("var", [4]),
  });
  const maps = [relu(input("x", [1, 4, 4, 4]))];
  const w = Array.from({ length: count }, () => input("w", [1, 1, 4, 4]));
  for (const weights of w) {
    const residual = maps[maps.length - 1];
    maps.push(batchNorm(conv2d(residual, weights), vectors(), { training: true, relu: true, residual }).y);
  }
  return { maps, loss: sum(maps[count]), w };
}

test("of a chain of sums every ninth map is kept, and each other is made once", () => {
  const { maps, loss, w } = blocks(19);
  const grads = rematerialise(
    gradients(loss, w).map((g) => g!),
    loss,
  );
  const late = reachable(grads).filter((node) => node.id > loss.node!.id);
  assert.is(late.filter((node) => node.op.name === "batchNormApply").length, 17);
  const read = new Set(late.flatMap((node) => node.inputs));
  assert.equal(
    maps.flatMap((t, i) => (read.has(t) ? i : [])),
    [0, 9, 18],
  );
});

test("what is an output stays, and what nobody reads late is not made again", () => {
  const { maps, loss, w } = blocks(2);
  const outputs = [...gradients(loss, w).map((g) => g!), maps[1], maps[2]];
  const lean = rematerialise(outputs, loss);
  assert.equal(lean.slice(2), [maps[1], maps[2]]);
  assert.not.ok(reachable(lean).some((node) => node.op.name === "batchNormApply"));
  const mask = input("mask", [1, 2, 2]);
  const masked = sum(maskMultiply(relu(input("x", [1, 2, 2, 4])), mask));
  const [g] = rematerialise([gradients(masked, [mask])[0] ?? masked], masked);
  assert.is(g, masked);
});

test("an update moves up to the last reader of what it overwrites, through views and overlapping ranges", () => {
  const [block, momenta] = [new Block("weights"), new Block("momenta")];
  const w = variable("w", [64], block, 256);
  const x = input("x", [64]);
  const early = scale(x, 2);
  const reader = add(early, reshape(reshape(w, [8, 8]), [64]));
  const beside = add(reader, variable("beside", [64], block, 512));
  const last = scale(beside, 3);
  const flat = [variable("flat", [128], block, 0), variable("v", [128], momenta, 0)];
  const [stepped] = sgd(flat[0], flat[1], input("g", [128]), input("hyper", [4]));
  const nodes = reachable([last, stepped]);
  assert.is(nodes.at(-1), stepped.node);
  const ordered = updatesEarly(nodes);
  assert.is(ordered.length, nodes.length);
  assert.is(ordered.indexOf(stepped.node!), ordered.indexOf(reader.node!) + 1);
  assert.ok(ordered.indexOf(beside.node!) > ordered.indexOf(stepped.node!));
});

test("what only updates read moves up with them, unless it reads variables itself", () => {
  const [block, momenta] = [new Block("weights"), new Block("momenta")];
  const [w, v] = [variable("w", [128], block, 0), variable("v", [128], momenta, 0)];
  const [a, b] = [1, 2].map((factor) => scale(input("x", [64]), factor));
  const last = scale(b, 3);
  const both = pack([a, b], [0, 256], 128);
  const [stepped] = sgd(w, v, both, input("hyper", [4]));
  const nodes = reachable([last, stepped]);
  const names = (of: readonly Node[]) => of.map((n) => n.op.name);
  assert.equal(names(nodes), ["affine", "affine", "affine", "pack", "sgd"]);
  assert.equal(names(updatesEarly(nodes)), ["affine", "affine", "pack", "sgd", "affine"]);

  const [decayed] = sgd(w, v, add(both, w), input("hyper", [4]));
  assert.equal(names(updatesEarly(reachable([last, decayed]))), ["affine", "affine", "affine", "pack", "add", "sgd"]);
});

test("an update whose result is read stays where it is", () => {
  const [block, momenta] = [new Block("weights"), new Block("momenta")];
  const [w, v] = [variable("w", [64], block, 0), variable("v", [64], momenta, 0)];
  const before = scale(input("x", [64]), 2);
  const [stepped] = sgd(w, v, input("g", [64]), input("hyper", [4]));
  const nodes = reachable([add(before, stepped)]);
  assert.equal(updatesEarly(nodes), nodes);
});

test.after(closeDevice);
test.run();
