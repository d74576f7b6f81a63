import { test } from "uvu";
import * as assert from "uvu/assert";
import { shaderTexts } from "#src/generated/shaders.js";
import { Device } from "#src/gpu/device.js";
import { includesOf } from "#src/gpu/shader.js";
import { kernelSpecs } from "../support/variants.js";

const specs = kernelSpecs();

test("every variant of every shader compiles, by Dawn's null backend", async () => {
  const device = await Device.open({ backend: "null", matrixUnits: true });
  const failures: string[] = [];
  let large = 0;
  for (const spec of specs) {
    try {
      await device.kernels.get(spec);
      device.check(`compiling ${JSON.stringify(spec)}`);
    } catch (error) {
      const { message } = error as Error;
      // It has the least memory that WebGPU allows, and says so of a shader that is otherwise right.
      if (/(matrix|wide)$/.test(spec.shader) && /total use of workgroup storage \(\d+ bytes\) is larger/.test(message))
        large++;
      else failures.push(message);
    }
  }
  assert.is(failures.length, 0, failures.join("\n"));
  assert.ok(large < specs.length / 4);
  device.close();
});

test("every shader file is used", () => {
  const used = new Set<string>(specs.map((spec) => spec.shader));
  for (const [file, text] of Object.entries(shaderTexts))
    for (const [line] of text.matchAll(/^\s*#include .*$/gm)) {
      const names = includesOf(line);
      assert.ok(names.length > 0, `${file}.wgsl: ${line.trim()} finds nothing`);
      for (const name of names) used.add(name);
    }
  assert.equal(
    Object.keys(shaderTexts).filter((name) => !used.has(name)),
    [],
  );
});

test("every shader opens with what it computes, its layout or bytes, and its grid", () => {
  for (const [name, text] of Object.entries(shaderTexts)) {
    assert.match(text, /^\/\/ /, `${name}.wgsl has no header`);
    if (/@compute/.test(text))
      assert.match(text.split("struct Params")[0], /Grid: |Tile: /, `${name}.wgsl does not describe its grid`);
  }
});

test.run();
