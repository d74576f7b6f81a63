/** `mpn convert --out model.onnx`: what it writes, says and refuses; what models compute is tested in test/export. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readTorch } from "#src/formats/torch.js";
import { mpn } from "../support/mpn.js";
import { readOnnx } from "../support/onnx-reader.js";
import { temporaryFolder } from "../support/tiny.js";

const folder = temporaryFolder();
const shipped = join(import.meta.dirname, "../../weights/small.safetensors");
const official = join(import.meta.dirname, "../formats/torch/official.pth");

async function convert(...args: string[]) {
  const { code, stdout, stderr } = await mpn(["convert", ...args, "--json"]);
  assert.is(code, 0, stderr);
  return JSON.parse(stdout);
}

test("the network that ships, for any batch", async () => {
  const out = join(folder, "small.onnx");
  const said = await convert(shipped, "--out", out);
  assert.is(said.bytes, statSync(out).size);
  const [height, width] = said.config.imageSize;
  assert.equal(said.input, { name: "images", shape: ["N", 3, height, width] });
  const model = readOnnx(readFileSync(out));
  assert.equal(model.inputs, [said.input]);
  assert.equal(model.outputs, [said.output]);
  assert.equal(model.metadata, said.metadata);
  assert.is(model.nodes.length, said.nodes);
  assert.is(model.metadata.interpolation, said.config.testInterpolation);
});

test("torch's weights, for a batch of four and with mirror images", async () => {
  const out = join(folder, "official.onnx");
  const said = await convert(official, "--out", out, "--set", "imageSize=[48,16]", "--batch", "4", "--flip");
  assert.equal(said.input.shape, [4, 3, 48, 16]);
  assert.is(said.output.shape[0], 4);
  assert.equal([said.metadata.flip, said.metadata.interpolation], ["true", "bicubic"]);
});

test("options for ONNX alone are refused elsewhere, and nothing is written", async () => {
  const out = join(folder, "weights.safetensors");
  for (const option of [["--flip"], ["--batch", "2"]]) {
    const { code, stderr } = await mpn(["convert", shipped, "--out", out, ...option]);
    assert.is(code, 2);
    assert.match(stderr, `${option[0]} is for ONNX models`);
  }
  assert.is((await mpn(["convert", shipped, "--out", join(folder, "no.onnx"), "--batch", "0"])).code, 2);
  assert.not.ok(existsSync(out));
});

test("options that would have no effect and endings of no kind are refused, and nothing is written", async () => {
  const refused = async (out: string, expected: string, ...options: string[]) => {
    const path = join(folder, out);
    const { code, stderr } = await mpn(["convert", shipped, "--out", path, ...options]);
    assert.is(code, 2, stderr);
    assert.match(stderr, expected);
    assert.not.ok(existsSync(path));
  };
  await refused("w.safetensors", "--set says what a file of torch leaves open", "--set", "nonsense=1");
  await refused("w.pth", "--preset says what a file of torch leaves open", "--preset", "nope");
  for (const out of ["w.safetensors", "w.onnx"])
    await refused(out, "--names official is for files of torch", "--names", "official");
  for (const out of ["w.npz", "w"]) await refused(out, ".safetensors for weights alone, .pth, .pt or .tar for torch");
});

test("an ending means the same in capitals", async () => {
  const [onnx, torch] = [join(folder, "capitals.ONNX"), join(folder, "capitals.PTH")];
  assert.is((await convert(shipped, "--out", onnx)).opset, 17);
  await convert(shipped, "--out", torch);
  assert.ok((await readTorch(torch)).size > 0);
});

test("a checkpoint that cannot be read leaves the earlier model", async () => {
  const [damaged, out] = [join(folder, "damaged.safetensors"), join(folder, "kept.onnx")];
  writeFileSync(damaged, readFileSync(shipped).subarray(0, 1000));
  await convert(shipped, "--out", out);
  const earlier = readFileSync(out);
  const { code, stderr } = await mpn(["convert", damaged, "--out", out]);
  assert.is(code, 1);
  assert.match(stderr, "damaged.safetensors");
  assert.ok(earlier.equals(readFileSync(out)));
});

test.run();
