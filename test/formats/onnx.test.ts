import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type OnnxModel, writeOnnx } from "#src/formats/onnx.js";
import { readOnnx } from "../support/onnx-reader.js";
import { temporaryFolder } from "../support/tiny.js";

const folder = temporaryFolder();

const model: OnnxModel = {
  name: "affine",
  description: "y = k x, and some attributes",
  producer: { name: "test", version: "1" },
  inputs: [{ name: "x", shape: ["N", 300], description: "größer als ein Byte" }],
  outputs: [{ name: "y", shape: ["N", 300], description: "" }],
  nodes: [
    {
      op: "Mul",
      name: "scaled",
      inputs: ["x", "k"],
      outputs: ["y"],
      attributes: { one: 1, less: -1, half: { float: 0.5 }, whole: { float: 2 }, several: [0, -3, 2 ** 40], none: [] },
    },
  ],
  constants: [
    { name: "k", shape: [1, 3], data: Float32Array.of(1.5, -0, 1e-30) },
    { name: "places", shape: [2], data: BigInt64Array.of(-1n, -(2n ** 63n)) },
  ],
  metadata: { größe: "[1,2]", empty: "" },
};

test("what is written is what is read", async () => {
  const path = join(folder, "model.onnx");
  const bytes = await writeOnnx(path, model);
  const file = readFileSync(path);
  assert.is(file.length, bytes);
  const { inputs, outputs, nodes, tensors, metadata } = readOnnx(file);
  assert.equal(inputs, [{ name: "x", shape: ["N", 300] }]);
  assert.equal(outputs, [{ name: "y", shape: ["N", 300] }]);
  const attributes = { one: 1, less: -1, half: 0.5, whole: 2, several: [0, -3, 2 ** 40], none: [] };
  assert.equal(nodes, [{ op: "Mul", inputs: ["x", "k"], outputs: ["y"], attributes }]);
  for (const { name, shape, data } of model.constants) assert.equal(tensors.get(name), { shape, data });
  assert.equal(metadata, model.metadata);
});

test("more than a file can hold is refused, and the earlier file stays", async () => {
  const path = join(folder, "large.onnx");
  writeFileSync(path, "earlier");
  // One array under many names, so that the test needs no such memory.
  const data = new Float32Array(2 ** 25);
  const constants = Array.from({ length: 16 }, (_, i) => ({ name: `w${i}`, shape: [data.length], data }));
  try {
    await writeOnnx(path, { ...model, constants });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /large\.onnx: the model takes 2\.15 GB.*at most 2 GiB/);
  }
  assert.is(readFileSync(path, "utf8"), "earlier");
});

test("a folder that does not exist is named, and nothing is left behind", async () => {
  const path = join(folder, "nowhere", "model.onnx");
  try {
    await writeOnnx(path, model);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, `Cannot write ${path}`);
  }
  assert.not.ok(existsSync(join(folder, "nowhere")));
  assert.not.ok(readdirSync(folder).some((name) => name.includes(".tmp-")));
});

test.run();
