import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseMat5, readMat5 } from "#src/formats/mat5.js";
import { put, userError, withFolder } from "../data/helpers.js";
import { writeMat5 } from "../support/mat5.js";

const NAMES = ["1_001_1_01.png", "1_001_2_06.png", "9_999_2_10.png"];
const VARIABLES = {
  filelist: NAMES,
  title: "Zürich",
  labels: Uint16Array.of(1, 1, 1467),
  camId: Uint8Array.of(1, 2, 2),
  weights: Float64Array.of(-1.5, 2e9),
  one: Uint8Array.of(7),
};

for (const little of [true, false])
  for (const compressed of [true, false])
    test(`${little ? "little" : "big"} endian, ${compressed ? "compressed" : "plain"}`, () => {
      const variables = parseMat5(writeMat5(VARIABLES, { little, compressed }));
      assert.equal([...variables.keys()], Object.keys(VARIABLES));
      assert.equal(variables.get("filelist"), {
        kind: "cells",
        shape: [3, 1],
        cells: NAMES.map((text) => ({ kind: "text", text })),
      });
      assert.equal(variables.get("title"), { kind: "text", text: "Zürich" });
      for (const name of ["labels", "camId", "weights", "one"] as const) {
        const data = Float64Array.from(VARIABLES[name]);
        assert.equal(variables.get(name), { kind: "numbers", shape: [data.length, 1], data });
      }
    });

/** Written by scipy 1.17's savemat, compressed; the header left out. */
const SCIPY = `
DwAAAF0AAAB4nONjYGCYwcjAwAakOYAYyAQDViifFSrGCOWnZeak5mQWl/AB2Q4MCH0saPpA6vmQzBOA8g3jDQwM44GkoV5BXjpEjHxzjOINzCg3x4hK7jGi
gnuM0MIHABRhGrkPAAAANgAAAHic42NgYPAAYjYg5gBibgYIYIXyQTQjFIPU5CQmpeYUMzCwANlcYHFGBiYg1GGE6AMAcGoDPg8AAAAtAAAAeJzjY2BgcABi
NiDmAGJOBghghfJBNCMUg9jJibmeKUCaCSbHBIRAGgBIKAJrDwAAAC4AAAB4nONjYGDwAGI2IOaA0iDACuUzImFOIC4pSszMi89MqYCq44SqgwARBwCOhASr
DwAAADIAAAB4nONjYGBwAGI2IOYAYm4GCGCF8pmAmBGKOYG4sDS1qDI+M6UCqo4FCBkZmBkAbEwEaA8AAAA4AAAAeJzjY2BgCABiNiDmAGI+BghghfIZgZgJ
SnMDcXpiTk5qUWV8ZkoFWB0PEAtA1YAAC5QGAM/2BU0PAAAAOwAAAHic42NgYKgAYjYg5gBiJgYIYIXyGeGYhSEvvySVFUgzgflMDIlAmg+ILZD08+HUDwE8
SOIgAAAVUQNXDwAAACUAAAB4nONjYGCwAGI2IOaA0iDACuXDACNULDW3oKQSSHNCxQE1/wKmDwAAADEAAAB4nONjYGBwAGI2IOaA0iDACuUzAjETmGZmyEtN
Z+AEsgUYYODHfhCZevauIwBWvAXR`;

test("a file by another program: cells, integers of all sizes, an empty array; a structure is passed over", () => {
  const header = writeMat5({}).subarray(0, 128);
  const variables = parseMat5(Buffer.concat([header, Buffer.from(SCIPY, "base64")]));
  const numbers = (name: string) => {
    const value = variables.get(name);
    return value?.kind === "numbers" ? [value.shape, [...value.data]] : value;
  };
  const filelist = variables.get("filelist");
  assert.equal(filelist?.kind === "cells" && filelist.cells.map((cell) => cell.kind === "text" && cell.text), [
    "1_001_1_01.png",
    "1_001_2_06.png",
    "1_002_1_01.png",
    "1_002_2_06.png",
    "2_001_1_01.png",
  ]);
  assert.equal(numbers("labels"), [
    [5, 1],
    [1, 1, 2, 2, 300],
  ]);
  assert.equal(numbers("train_idx"), [[1, 1], [5]]);
  assert.equal(numbers("gallery_idx"), [
    [1, 2],
    [2, 4],
  ]);
  assert.equal(numbers("empty"), [[0, 0], []]);
  assert.equal(numbers("neg"), [
    [1, 2],
    [-1.5, 2e9],
  ]);
  assert.equal(variables.get("note"), { kind: "other", class: "struct" });
});

test("damaged and foreign files are refused by name", () =>
  withFolder(async (folder) => {
    const whole = writeMat5(VARIABLES, { compressed: false });
    const files: [string, Uint8Array, RegExp][] = [
      ["cut.mat", whole.subarray(0, whole.length - 40), /cut\.mat.*ends too early/],
      ["hdf5.mat", Buffer.from("\x89HDF\r\n\x1a\n".padEnd(200), "latin1"), /hdf5\.mat.*does not begin/],
      ["short.mat", whole.subarray(0, 100), /short\.mat.*does not begin/],
      ["noise.mat", Buffer.concat([whole.subarray(0, 128), Buffer.alloc(64, 0x5a)]), /noise\.mat/],
    ];
    for (const [name, bytes, message] of files) {
      await put(join(folder, name), bytes);
      assert.match((await userError(() => readMat5(join(folder, name)))).message, message);
    }
    assert.match((await userError(() => readMat5(join(folder, "none.mat")))).message, "none.mat");
  }));

test.run();
