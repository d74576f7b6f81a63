import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unzipSync, zipSync } from "fflate";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import { unpickle } from "#src/formats/pickle.js";
import type { StoredTensor } from "#src/formats/safetensors.js";
import { parseTorch, readTorch } from "#src/formats/torch.js";
import { isTorchFile } from "#src/formats/torch-file.js";
import { writeTorch } from "#src/formats/torch-write.js";
import { temporaryFolder } from "../support/tiny.js";

/** Written by torch 1.13 (torch/make.py); tensor k of a file holds (i % 17) / 16 + (k % 50) / 8 at its element i. */
const folder = join(import.meta.dirname, "torch");
const temporary = temporaryFolder();
const file = (name: string) => join(folder, name);

function checkRamp(tensors: ReadonlyMap<string, StoredTensor>, value = (v: number) => v, except: string[] = []): void {
  [...tensors].forEach(([name, { dtype, shape, ...tensor }], k) => {
    const data = tensor.data as ArrayLike<number | bigint>;
    if (except.includes(name)) return;
    assert.is(
      data.length,
      shape.reduce((a, b) => a * b, 1),
      name,
    );
    if (name.endsWith("num_batches_tracked")) {
      assert.equal([dtype, ...Array.from(data)], ["I64", 5n], name);
      return;
    }
    const expected = Array.from(data, (_, i) => (i % 17) / 16 + (k % 50) / 8);
    assert.equal(
      Array.from(data, (v) => value(Number(v))),
      expected,
      name,
    );
  });
}

test("a zip archive: floats and counters, in order", async () => {
  const tensors = await readTorch(file("official.pth"));
  checkRamp(tensors);
  assert.equal(tensors.get("base.0.weight")!.shape, [1, 3, 7, 7]);
  assert.is([...tensors.keys()][0], "base.0.weight");
});

test("pickles one after another: half floats, strides of another order, a state dict inside", async () => {
  const half = (bits: number) => {
    const exponent = (bits >> 10) & 31;
    return exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
  };
  const tensors = await readTorch(file("official-legacy.pth"));
  assert.is(tensors.get("module.base.4.0.conv2.weight")!.dtype, "F16");
  checkRamp(tensors, half);
});

test("parameters, and a view into a larger storage of doubles", async () => {
  const tensors = await readTorch(file("resnet-legacy.pth"));
  checkRamp(tensors, undefined, ["bn1.bias"]);
  assert.equal(tensors.get("bn1.bias"), { dtype: "F64", shape: [1], data: Float64Array.of(3) });
});

const refused = (bytes: Uint8Array, message: RegExp) => {
  try {
    parseTorch(bytes, "x.pth");
    assert.unreachable("the file was accepted");
  } catch (error) {
    assert.instance(error, UserError, (error as Error).stack);
    assert.match((error as Error).message, message);
    assert.match((error as Error).message, /^x\.pth/);
  }
};

test("a file that was cut anywhere is refused", () => {
  for (const name of ["official.pth", "resnet-legacy.pth"]) {
    const whole = readFileSync(file(name));
    for (let length = 0; length < whole.length; length += Math.ceil(whole.length / 97)) {
      refused(whole.subarray(0, length), /damaged|no file of torch\.save/);
    }
  }
});

test("damage in the pickle is an error of the file, or harmless", () => {
  const whole = new Uint8Array(readFileSync(file("resnet-legacy.pth")));
  for (let at = 2; at < 4000; at += 37) {
    const damaged = whole.slice();
    damaged[at] ^= 0x5a;
    try {
      parseTorch(damaged, "x.pth");
    } catch (error) {
      assert.instance(error, UserError, `byte ${at}: ${(error as Error).stack}`);
    }
  }
});

const text = (value: string) => [...new TextEncoder().encode(value)];
/** A pickle that calls a function with a text. */
const call = (module: string, name: string) =>
  Uint8Array.from([0x80, 2, ...text(`c${module}\n${name}\n`), 0x58, 2, 0, 0, 0, ...text("ls"), 0x85, 0x52, 0x2e]);

test("a pickle that asks to run something is refused by name", () => {
  for (const [module, name] of [
    ["posix", "system"],
    ["builtins", "eval"],
    ["torch", "load"],
    ["torch._utils", "_rebuild_tensor_v2"],
  ]) {
    const refusal = new RegExp(`asks to run ${module}\\.${name}.* not run`);
    refused(call(module, name), refusal);
    const archive = unzipSync(readFileSync(file("official.pth")));
    const pickle = Object.keys(archive).find((entry) => entry.endsWith("data.pkl"))!;
    refused(zipSync({ ...archive, [pickle]: call(module, name) }), refusal);
  }
});

test("opcodes beyond data are refused", () => {
  // OBJ, INST, NEWOBJ, EXT1: each makes an object.
  for (const code of [0x6f, 0x69, 0x81, 0x82]) refused(Uint8Array.of(0x80, 2, 0x7d, code, 0x2e), /opcode 0x/);
  refused(Uint8Array.of(0x80, 2, 0x52, 0x2e), /values missing/);
});

test("a tensor beyond its storage is refused", () => {
  const archive = unzipSync(readFileSync(file("official.pth")));
  const name = Object.keys(archive).find((entry) => entry.endsWith("/data/0"))!;
  refused(zipSync({ ...archive, [name]: archive[name].subarray(4) }), /storage 0 has \d+ of \d+ bytes/);
  const { [name]: _, ...without } = archive;
  refused(zipSync(without), /lacks data\/0/);
  // The stem's shape [1, 3, 7, 7] made [1, 3, 7, 9]: BININT1 7, BININT1 7, TUPLE.
  const pickle = Object.keys(archive).find((entry) => entry.endsWith("data.pkl"))!;
  const bytes = archive[pickle].slice();
  const at = bytes.findIndex((_, i) => [0x4b, 7, 0x4b, 7, 0x74].every((b, k) => bytes[i + k] === b));
  assert.ok(at > 0);
  bytes[at + 3] = 9;
  refused(zipSync({ ...archive, [pickle]: bytes }), /base\.0\.weight \[1, 3, 7, 9\] reaches beyond its storage/);
});

test("integers, texts, dictionaries and references of all lengths", () => {
  const options = { source: "x", call: () => undefined };
  const value = (...bytes: number[]) => unpickle(Uint8Array.from([...bytes, 0x2e]), 0, options).value;
  assert.is(value(0x8a, 2, 0xff, 0xff), -1);
  assert.is(value(0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1), 2n ** 64n);
  assert.is(value(0x4a, 0xfe, 0xff, 0xff, 0xff), -2);
  assert.is(value(0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 1.5);
  assert.equal(value(0x7d, 0x71, 0, 0x4b, 1, 0x4b, 2, 0x73, 0x68, 0, 0x86), [new Map([[1, 2]]), new Map([[1, 2]])]);
  assert.equal(value(0x28, ...text("I01\n"), ...text("I-7\n"), 0x74), [true, -7]);
});

test("what is written is read again, bit for bit", async () => {
  const path = join(temporary, "written.pth");
  const tensors: [string, StoredTensor][] = [
    ["a.weight", { dtype: "F32", shape: [2, 3], data: Float32Array.of(1, -2, 3.5, 0, 1e-30, 7) }],
    ["a.count", { dtype: "I64", shape: [], data: BigInt64Array.of(12345678901n) }],
    ["\u00fc", { dtype: "F16", shape: [1], data: Uint16Array.of(0x3c00) }],
  ];
  await writeTorch(path, tensors);
  assert.equal([...(await readTorch(path))], tensors);
  const first = readFileSync(path);
  await writeTorch(path, tensors);
  assert.ok(first.equals(readFileSync(path)), "equal weights are equal files");
});

test("other files are told as such", async () => {
  const path = join(temporary, "other.txt");
  writeFileSync(path, "hello");
  assert.not.ok(await isTorchFile(path));
  assert.not.ok(await isTorchFile(temporary));
  refused(readFileSync(path), /no file of torch\.save/);
  refused(zipSync({ "a.txt": Uint8Array.of(1) }), /no data\.pkl/);
  refused(Uint8Array.of(0x80, 2, 0x7d, 0x2e), /no file of torch\.save/);
  await readTorch(join(temporary, "none.pth")).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /none\.pth: there is no such file/),
  );
});

test.run();
