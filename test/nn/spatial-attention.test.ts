import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { Device } from "#src/gpu/device.js";
import { Lowering } from "#src/graph/lowering.js";
import { fuse } from "#src/graph/passes.js";
import { planMemory } from "#src/graph/plan.js";
import { rematerialise } from "#src/graph/rematerialise.js";
import { input, reachable, type Tensor } from "#src/graph/tensor.js";
import { Build } from "#src/nn/layers.js";
import { ParameterStore } from "#src/nn/parameters.js";
import { stage } from "#src/nn/resnet.js";
import { spatialAttention } from "#src/nn/spatial-attention.js";
import { gradients, mul, scale, sum } from "#src/ops/index.js";
import { paperProfile } from "../support/profile.js";

const STRIDES = [1, 2, 2, 1];
/** What is planned for: a GPU, and lavapipe with its kernels by subgroups. */
const PROFILES = { GPU: paperProfile(), lavapipe: paperProfile({ software: true, subgroupSize: 8 }) };

/** The map that stage i reads, and the network's settings, at 384x128. */
function stageInput(i: number, width: number, batch: number) {
  const rows = [96, 96, 48, 24][i];
  const channels = i === 0 ? width : 4 * width * 2 ** (i - 1);
  return { shape: [batch, rows, rows / 3, channels], planes: width * 2 ** i, config: { layers: [3, 4, 6, 3], width } };
}

/**
 * All tensors of a graph around `body`, and the bytes that are live at its worst moment. The map that `body` reads is
 * made in the graph, so that it counts for as long as `body` holds on to it; so do all values that the backward pass
 * needs, and in training the gradients of the map and of every parameter, which all leave the graph. The gradient that
 * arrives at the result is an input, which counts on neither side.
 */
function planned(
  body: (b: Build, x: Tensor) => Tensor,
  shape: readonly number[],
  training: boolean,
  { lean = false, profile = paperProfile() } = {},
) {
  const store = new ParameterStore();
  const x = scale(input("x", shape), 0.5);
  const y = body(new Build(store, training), x);
  const loss = sum(mul(y, input("dy", y.shape)));
  const backward = () => gradients(loss, [x, ...store.trained.map((p) => p.tensor)]).map((g) => g!);
  const outputs = !training ? fuse([y]) : lean ? rematerialise(backward(), loss) : backward();
  const lowering = new Lowering(profile);
  lowering.lower(reachable(outputs));
  const tensors = new Set(lowering.launches.flatMap(({ bindings }) => Object.values(bindings)));
  return { y, tensors: [...tensors], live: planMemory(lowering, outputs, profile).liveBytes };
}

for (const training of [false, true]) {
  for (let i = 0; i < 4; i++) {
    test(`at 384x128 the attention after stage ${i + 1} needs less memory than the stage, ${training ? "training" : "inference"}`, () => {
      // No batch of a training step is smaller than two images: at a single one the parameters' gradients outweigh stage 1's maps.
      // With maps kept for the backward pass and, as steps are by default, with maps made again.
      for (const batch of training ? [2, 8] : [1, 8])
        for (const [name, profile] of Object.entries(PROFILES))
          for (const lean of training ? [false, true] : [false]) {
            const { shape, config } = stageInput(i, 64, batch);
            const options = { lean, profile };
            const whole = planned((b, x) => stage(b, "backbone", x, i, config), shape, training, options);
            const module = planned((b, x) => spatialAttention(b, "attention", x), whole.y.shape, training, options);
            const which = `batch ${batch}, ${name}, maps ${lean ? "made again" : "kept"}`;
            assert.ok(module.live < whole.live, `${which}: module ${module.live}, stage ${whole.live} bytes`);
          }
    });
  }

  test(`no tensor relates all positions to all, ${training ? "training" : "inference"}`, () => {
    // A narrow network, so that no map is as large as positions x positions for other reasons.
    for (let i = 0; i < 4; i++) {
      const { shape, planes } = stageInput(i, 4, 2);
      const map = [2, shape[1] / STRIDES[i], shape[2] / STRIDES[i], 4 * planes];
      const positions = map[1] * map[2];
      const { tensors } = planned((b, x) => spatialAttention(b, "attention", x), map, training);
      const largest = Math.max(...tensors.map((t) => t.size));
      assert.ok(largest < map[0] * positions ** 2, `stage ${i + 1}: ${largest} elements, ${positions} positions`);
    }
  });
}

test("parameters are those of RGA-S at 384x128: 4.638 million", () => {
  const store = new ParameterStore();
  for (let i = 0; i < 4; i++) {
    const { shape, planes } = stageInput(i, 64, 1);
    const map = [1, shape[1] / STRIDES[i], shape[2] / STRIDES[i], 4 * planes];
    spatialAttention(new Build(store, false), `attention${i + 1}`, input(`x${i}`, map));
  }
  assert.is(Math.round(store.count().parameters / 1000), 4638);
});

test("weights of another image size are refused, and the error says why", async () => {
  const device = await Device.open({ backend: "null" });
  const stores = [24, 12].map((rows) => {
    const store = new ParameterStore();
    spatialAttention(new Build(store, false), "backbone.attention1", input("x", [1, rows, 8, 16]));
    store.allocate(device, 0);
    return store;
  });
  const values = new Map(
    stores[0].names.map(({ name, shape }) => [
      name,
      { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) },
    ]),
  );
  assert.equal(stores[0].load(device, values, "a.safetensors"), { missing: [], unknown: [] });
  try {
    stores[1].load(device, values, "a.safetensors");
    assert.unreachable("the other size was accepted");
  } catch (error) {
    assert.instance(error, UserError);
    assert.match((error as Error).message, /a\.safetensors: .*relate.* is \[24, 384, 1, 1\], .*imageSize/);
  }
  for (const store of stores) store.destroy(device);
  device.close();
});

test.run();
