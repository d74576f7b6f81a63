import { test } from "uvu";
import * as assert from "uvu/assert";
import { ResourceType, type StructInfo, WgslReflect } from "wgsl_reflect/wgsl_reflect.module.js";
import { packParams, preprocess, reflectShader, type ShaderName } from "#src/gpu/shader.js";
import { kernelSpecs } from "../support/variants.js";

const SHADER = `
struct Params { size: u32, origin: vec2<i32>, scale: f32, fill: vec4<f32> }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(64) fn main() { y[0] = vec4<f32>(x[0]) * params.scale; }`;

test("reflection reads bindings, their access, and where each parameter lies", () => {
  const { bindings, params } = reflectShader(SHADER, "example");
  assert.equal(bindings, [
    { name: "x", index: 0, type: "read-only-storage" },
    { name: "y", index: 1, type: "storage" },
    { name: "params", index: 2, type: "uniform" },
  ]);
  assert.is(params!.size, 48);
  assert.equal(
    [...params!.members].map(([name, { offset, type, count }]) => `${name} ${offset} ${type} ${count}`),
    ["size 0 u32 1", "origin 8 i32 2", "scale 16 f32 1", "fill 32 f32 4"],
  );
});

test("functions, blocks at the start of a line and comments are no declarations", () => {
  const { bindings } = reflectShader(
    `// @group(0) @binding(9) var<storage, read> old: array<f32>; {
/* fn unused() {
@group(0) @binding(8) var<storage, read> older: array<f32>; */
fn twice(v: f32) -> f32 { return 2.0 * v; }
${SHADER.slice(0, SHADER.indexOf("@compute"))}
@compute @workgroup_size(64)
fn main() {
{
  var s = subgroup_matrix_that_nobody_knows(); // }
}
  if (true) { y[0] = vec4f(twice(x[0])); }
}
@group(0) @binding(3) var<storage, read> last: array<f32>;
fn other() {}
`,
    "example",
  );
  assert.equal(
    bindings.map(({ name, index }) => `${name} ${index}`),
    ["x 0", "y 1", "params 2", "last 3"],
  );
});

/** By a parser of all of WGSL, which is shown no function: none declares anything, and some use what it cannot read yet. */
function reflectedBy(text: string) {
  let declarations = "";
  let from = 0;
  for (const { index } of text.matchAll(/^(?:@compute[^\n]*\n)?fn /gm)) {
    if (index < from) continue;
    declarations += text.slice(from, index);
    let depth = 0;
    for (from = text.indexOf("{", index); from < text.length; from++) {
      if (text[from] === "{") depth++;
      else if (text[from] === "}" && --depth === 0) break;
    }
    from++;
  }
  const found = (new WgslReflect(declarations + text.slice(from)).getBindGroups()[0] ?? []).filter((r) => r);
  const uniform = found.find((r) => r.resourceType === ResourceType.Uniform)?.type as StructInfo | undefined;
  return {
    bindings: found.map((r) => [r.binding, r.name, r.resourceType === ResourceType.Uniform ? "uniform" : r.access]),
    size: uniform && Math.ceil(uniform.size / 16) * 16,
    members: uniform?.members.map(({ name, offset, size }) => [name, offset, size]),
  };
}

test("what is read of every variant of every shader is what a whole parser of WGSL reads", () => {
  const texts = new Set(kernelSpecs().map((spec) => preprocess(spec.shader, spec.defines ?? {})));
  assert.ok(texts.size > 100);
  const access = { storage: "read_write", "read-only-storage": "read", uniform: "uniform" };
  for (const text of texts) {
    const { bindings, params } = reflectShader(text, "a shader");
    const read = {
      bindings: bindings.map(({ index, name, type }) => [index, name, access[type as keyof typeof access]]),
      size: params?.size,
      members: params && [...params.members].map(([name, { offset, count }]) => [name, offset, 4 * count]),
    };
    assert.equal(read, { ...reflectedBy(text), ...(params === null && { members: null }) }, text);
  }
});

test("parameters are packed where the shader reads them", () => {
  const { params } = reflectShader(SHADER, "example");
  const bytes = packParams(params!, { size: 7, origin: [-1, 2], scale: 0.5, fill: [1, 2, 3, 4] }, "example");
  const view = new DataView(bytes);
  assert.is(view.getUint32(0, true), 7);
  assert.equal([view.getInt32(8, true), view.getInt32(12, true)], [-1, 2]);
  assert.is(view.getFloat32(16, true), 0.5);
  assert.equal([...new Float32Array(bytes, 32)], [1, 2, 3, 4]);
});

test("parameters that do not fit are refused by name", () => {
  const { params } = reflectShader(SHADER, "example");
  const given = { size: 7, origin: [0, 0], scale: 1, fill: [0, 0, 0, 0] };
  const refuse = (values: Parameters<typeof packParams>[1], message: RegExp) =>
    assert.throws(() => packParams(params!, values, "example"), message);
  const { scale: _, ...lacking } = given;
  refuse(lacking, /example: params\.scale was not given/);
  refuse({ ...given, bias: 1 }, /example: the shader's params have no member bias/);
  refuse({ ...given, origin: [1, 2, 3] }, /example: params\.origin takes 2 values, got 3/);
  refuse({ ...given, fill: 0 }, /example: params\.fill takes 4 values, got 1/);
  refuse({ ...given, size: 1.5 }, /example: params\.size must be whole, got 1\.5/);
});

test("a uniform of another name, or with a member that cannot be packed, is refused by name", () => {
  assert.throws(
    () => reflectShader(SHADER.replaceAll("params", "settings"), "example"),
    /example: the uniform must be called params/,
  );
  const matrix = SHADER.replace("scale: f32", "scale: mat2x2<f32>");
  assert.throws(() => reflectShader(matrix, "example"), /example: params\.scale is mat2x2/);
});

test("a define that a shader uses and its launcher does not give is named, with the file", () => {
  assert.throws(() => preprocess("conv", {}), /elem\.wgsl asks for ELEM, which its launcher does not define/);
  const flags = { PADDED: false, BIAS: false, AFFINE: false, RESIDUAL: false };
  const types = { A: "f32", B: "T", C: "vec4<f32>", SPLIT: false };
  assert.throws(
    () => preprocess("conv", { ELEM: 4, TV: 1, ...types, ...flags }),
    /conv\.wgsl uses \$TM, which its launcher does not define/,
  );
  assert.throws(() => preprocess("conv", { ELEM: 4, TM: 2, TV: 1, ...types }), /conv_epilogue\.wgsl asks for BIAS/);
});

test("loops, conditions and includes are expanded, and nothing is left of them", () => {
  const flags = {
    PADDED: true,
    BIAS: true,
    AFFINE: false,
    RESIDUAL: false,
    SPLIT: false,
    A: "f32",
    B: "T",
    C: "vec2<f32>",
  };
  const text = preprocess("conv", { ELEM: 2, TM: 3, TV: 2, ...flags });
  assert.not.match(text, /^\s*#/m);
  assert.not.match(text, /\$/);
  assert.match(text, /alias T = vec2<f32>;/);
  assert.not.match(text, /alias T = f32;/);
  assert.match(text, /fn workgroup_number/);
  assert.match(text, /var pixel2 = next\(pixel1\);/);
  assert.not.match(text, /pixel3/);
  assert.is(text.match(/var c\d_\d = /g)?.length, 6);
  assert.equal(
    reflectShader(text, "conv").bindings.map((b) => b.name),
    ["a", "b", "c", "params", "bias"],
  );
});

test("a shader that is not there is an error", () => {
  assert.throws(() => preprocess("no such shader" as ShaderName, {}));
});

test.run();
