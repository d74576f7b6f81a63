import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { UserError } from "#src/errors.js";
import {
  parseSafetensors,
  readSafetensors,
  SafetensorsReader,
  type StoredTensor,
  writeSafetensors,
} from "#src/formats/safetensors.js";

const fixtures = join(import.meta.dirname, "../fixtures");
const test = suite<{ folder: string }>("safetensors");
test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), "mpn-safetensors-"));
});
test.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

/** A file's bytes from a header (an object, or raw text) and its data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

const entry = (dtype: string, shape: number[], begin: number, end: number) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const samples: [string, StoredTensor][] = [
  ["bytes", { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 255) }],
  ["weight", { dtype: "F32", shape: [2, 2], data: Float32Array.of(0.1, -2, Number.NEGATIVE_INFINITY, 1e-42) }],
  ["half", { dtype: "F16", shape: [1, 3], data: Uint16Array.of(0x3c00, 0xc000, 0x7bff) }],
  ["step", { dtype: "I64", shape: [], data: BigInt64Array.of(-(2n ** 60n)) }],
  ["exact", { dtype: "F64", shape: [1], data: Float64Array.of(Math.PI) }],
  ["ids", { dtype: "I32", shape: [2], data: Int32Array.of(-1, 7) }],
  ["seed", { dtype: "U32", shape: [1], data: Uint32Array.of(0xffffffff) }],
  ["none", { dtype: "F32", shape: [0, 4], data: new Float32Array(0) }],
  ["__proto__", { dtype: "BOOL", shape: [1], data: Uint8Array.of(1) }],
];

test("what is written is read back, types, shapes and bits", async ({ folder }) => {
  const path = join(folder, "all.safetensors");
  await writeSafetensors(path, samples, { kind: "test", note: 'quotes " and \u00fc' });
  for (const file of [await readSafetensors(path), parseSafetensors(readFileSync(path), path)]) {
    assert.equal(file.metadata, { kind: "test", note: 'quotes " and \u00fc' });
    assert.is(file.tensors.size, samples.length);
    for (const [name, tensor] of samples) assert.equal(file.tensors.get(name), tensor, name);
  }
});

test("the header is padded to 8 bytes and each tensor aligned to its elements", async ({ folder }) => {
  const path = join(folder, "aligned.safetensors");
  for (let length = 0; length < 8; length++) {
    await writeSafetensors(path, samples, { pad: "x".repeat(length) });
    const bytes = readFileSync(path);
    const headerBytes = Number(bytes.readBigUInt64LE(0));
    assert.is(headerBytes % 8, 0);
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes));
    for (const [name, { data }] of samples) assert.is(header[name].data_offsets[0] % data.BYTES_PER_ELEMENT, 0, name);
  }
});

test("tensors at unaligned offsets are read", () => {
  const bytes = fileOf({ a: entry("U8", [1], 0, 1), b: entry("F32", [1], 1, 5) }, 5);
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(bytes.length - 4, 2.5, true);
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  assert.equal(parseSafetensors(shifted.subarray(3), "x").tensors.get("b")?.data, Float32Array.of(2.5));
});

test("files of another writer are read", async () => {
  for (const name of readdirSync(fixtures).filter((file) => file.endsWith(".safetensors"))) {
    const { metadata, tensors } = await readSafetensors(join(fixtures, name));
    assert.ok(metadata.kind, name);
    assert.ok(tensors.size > 0, name);
  }
  const { tensors } = await readSafetensors(join(fixtures, "metrics.safetensors"));
  assert.equal(tensors.get("input.gallery")?.shape, [184, 16]);
  assert.instance(tensors.get("input.galleryIds")?.data, Int32Array);
});

test("tensors are read as they are asked for, aligned or not, neighbours and others", async ({ folder }) => {
  const path = join(folder, "parts.safetensors");
  writeFileSync(path, odd());
  const reader = await SafetensorsReader.open(path);
  assert.equal([...reader.entries.keys()], ["a", "b", "c", "d"]);
  const whole = (await readSafetensors(path)).tensors;
  for (const names of [["a"], ["b", "c"], ["d", "a"], ["c"], ["d", "c", "b", "a"], []]) {
    const tensors = reader.view(names);
    assert.is(tensors.size, names.length);
    for (const name of names) assert.equal(tensors.get(name), whole.get(name), `${name} of ${names}`);
  }
  assert.equal(reader.read("b"), whole.get("b"));
  assert.throws(() => reader.view(["e"]), "has no tensor e");
  await reader.close();
});

test("a file that shrinks while it is open is named", async ({ folder }) => {
  const path = join(folder, "shrinking.safetensors");
  writeFileSync(path, odd());
  const reader = await SafetensorsReader.open(path);
  truncateSync(path, odd().length - 1);
  assert.throws(
    () => reader.view(["a", "d"]),
    (error: Error) =>
      error instanceof UserError && error.message.includes("shrinking.safetensors: the file became shorter"),
  );
  await reader.close();
});

/** A file whose tensors of floats lie at odd offsets. */
function odd(): Uint8Array {
  const bytes = fileOf(
    {
      a: entry("U8", [3], 0, 3),
      b: entry("F32", [2], 3, 11),
      c: entry("F32", [1, 3], 11, 23),
      d: entry("F32", [1], 23, 27),
    },
    27,
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 27);
  for (let i = 0; i < 6; i++) view.setFloat32(3 + 4 * i, i + 0.5, true);
  return bytes;
}

const one = { a: entry("F32", [2], 0, 8) };
const invalid: [string, Uint8Array, RegExp][] = [
  ["an empty file", new Uint8Array(0), /has 0 bytes/],
  ["another kind of file", Buffer.from("<!DOCTYPE html><html></html>"), /another kind/],
  ["a truncated header", fileOf(one, 8).subarray(0, 30), /header is truncated, 22 of \d+ bytes/],
  ["truncated data", fileOf(one, 7), /data is truncated, 7 of 8 bytes/],
  ["bytes too many", fileOf(one, 9), /1 bytes follow/],
  ["bad JSON", fileOf("{nonsense", 0), /not JSON/],
  ["JSON of another shape", fileOf("[1]", 0), /not a JSON object/],
  ["an entry that is no object", fileOf({ a: 3 }, 0), /"a" is not a JSON object/],
  ["an unknown dtype", fileOf({ a: entry("Q4", [2], 0, 8) }, 8), /dtype "Q4"; known are F64, F32/],
  ["a dtype of Object.prototype", fileOf({ a: entry("constructor", [2], 0, 8) }, 8), /dtype "constructor"/],
  ["a negative size", fileOf({ a: entry("F32", [-2], 0, 8) }, 8), /shape \[-2\]/],
  ["a size that is not shape x dtype", fileOf({ a: entry("F32", [3], 0, 8) }, 8), /takes 8 bytes.*takes 12/],
  ["reversed offsets", fileOf({ a: entry("F32", [2], 8, 0) }, 8), /data_offsets \[8,0\]/],
  ["an overlap", fileOf({ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 3, 7) }, 7), /"b" overlaps/],
  ["a hole", fileOf({ a: entry("U8", [4], 0, 4), b: entry("U8", [4], 5, 9) }, 9), /bytes 4 to 5.*no tensor/],
  ["metadata that are no strings", fileOf({ __metadata__: { step: 3 } }, 0), /"step".*not a string/],
];

for (const [what, bytes, message] of invalid)
  test(`${what} is refused, from memory and from disk`, async ({ folder }) => {
    const path = join(folder, "bad.safetensors");
    writeFileSync(path, bytes);
    const check = (error: unknown) => {
      assert.instance(error, UserError);
      assert.match((error as UserError).message, path);
      assert.match((error as UserError).message, message);
    };
    try {
      parseSafetensors(bytes, path);
      assert.unreachable("parsed");
    } catch (error) {
      check(error);
    }
    await readSafetensors(path).then(() => assert.unreachable("read"), check);
  });

test("a missing file and a folder are named", async ({ folder }) => {
  for (const [path, message] of [
    [join(folder, "absent.safetensors"), /absent\.safetensors: no such file/],
    [folder, /it is a folder/],
  ] as const)
    await readSafetensors(path).then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, UserError);
        assert.match(error.message, message);
      },
    );
});

test("a failed rename leaves no temporary file", async ({ folder }) => {
  const target = join(folder, "taken");
  mkdirSync(join(target, "inside"), { recursive: true });
  await writeSafetensors(target, samples, {}).then(
    () => assert.unreachable(),
    (error) => assert.instance(error, UserError),
  );
  assert.equal(
    readdirSync(folder).filter((name) => name.includes(".tmp-")),
    [],
  );
});

test("names given twice, reserved or of the wrong length are bugs of the caller", async ({ folder }) => {
  const path = join(folder, "bug.safetensors");
  const tensor: StoredTensor = { dtype: "F32", shape: [1], data: Float32Array.of(1) };
  const long: StoredTensor = { dtype: "F32", shape: [1], data: Float32Array.of(1, 2) };
  for (const tensors of [
    [
      ["a", tensor],
      ["a", tensor],
    ],
    [["__metadata__", tensor]],
    [["a", long]],
  ] as [string, StoredTensor][][])
    await writeSafetensors(path, tensors, {}).then(
      () => assert.unreachable(),
      (error) => assert.not.instance(error, UserError),
    );
});

// A limit on the size of files stands in for the full disk: the write fails half-way in the same manner.
if (process.platform !== "win32")
  test("a write that fails half-way keeps the old file and leaves nothing behind", async ({ folder }) => {
    const path = join(folder, "kept.safetensors");
    await writeSafetensors(path, samples, {});
    const before = readFileSync(path);
    const module = pathToFileURL(join(import.meta.dirname, "../../dist/formats/safetensors.js")).href;
    const script = `
      import { writeSafetensors } from ${JSON.stringify(module)};
      const data = new Float32Array(1 << 20);
      await writeSafetensors(${JSON.stringify(path)}, [["big", { dtype: "F32", shape: [data.length], data }]], {}).then(
        () => console.log("written"),
        (error) => console.log(error.name, error.message),
      );`;
    const { stdout } = spawnSync(
      "sh",
      ["-c", 'ulimit -f 64; exec "$0" --input-type=module -e "$1"', process.execPath, script],
      {
        encoding: "utf8",
      },
    );
    assert.match(stdout, /UserError Cannot write .*kept\.safetensors.*would exceed the size/);
    assert.equal(readFileSync(path), before);
    assert.equal(
      readdirSync(folder).filter((name) => name.includes(".tmp-")),
      [],
    );
  });

test.run();
