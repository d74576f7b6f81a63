/** The emulation itself: what it makes of matrices of any shape and layout, and what it refuses. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { emulated } from "./matrix-emulation.js";
import { closeDevice, draw, half, sharedDevice } from "./op.js";

interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly layout?: "row_major" | "col_major";
  readonly component?: "f16" | "f32";
  /** How arrays hold components: one by one, or as vectors of so many. */
  readonly width?: 1 | 4;
  /** The form that Dawn had first: a bool before the stride. */
  readonly older?: boolean;
}

/** Loads, multiplies, adds what c holds and stores; with offsets, and rows that are longer than what is read. */
function shaderOf({ m, n, k, layout = "row_major", component = "f32", width = 1, older = false }: Product): string {
  const element = width === 1 ? component : `vec${width}<${component}>`;
  const call = (builtin: string, type: string, args: string[]) => {
    const template = [...(type ? [type] : []), ...(older ? [] : [layout])].join(", ");
    const [stride] = args.splice(-1);
    const all = older ? [...args, String(layout === "col_major"), stride] : [...args, stride];
    return `subgroupMatrix${builtin}${template ? `<${template}>` : ""}(${all.join(", ")})`;
  };
  const offset = 4 / width;
  const stride = `${(32 / width) | 0}u`;
  return `
    enable subgroups; // needed
    enable chromium_experimental_subgroup_matrix;
    /* subgroupMatrixLoad in a comment
       of two lines */
    const COLUMNS = ${n}u;
    alias Result = subgroup_matrix_result<f32, COLUMNS, ${m}>;
    alias E = ${element};
    @group(0) @binding(0) var<storage, read> a: array<E>;
    @group(0) @binding(1) var<storage, read> b: array<${element}>;
    @group(0) @binding(2) var<storage, read_write> c: array<f32>;
    @compute @workgroup_size(LANES) fn main() {
      var sum = Result();
      sum = subgroupMatrixMultiplyAccumulate(
        ${call("Load", `subgroup_matrix_left<${component}, ${k}, ${m}>`, ["&a", `${offset}u`, stride])},
        ${call("Load", `subgroup_matrix_right<${component}, ${n}, ${k}>`, ["&b", `${offset}`, stride])}, sum);
      ${call("Store", "", ["&c", "4u", "sum", "32u"])};
    }`;
}

async function check(given: Product): Promise<void> {
  const { m, n, k, layout = "row_major", component = "f32" } = given;
  const device = await sharedDevice();
  const lanes = device.profile.subgroupSize;
  assert.ok(lanes > 0, "subgroups of one size");
  const code = emulated(shaderOf(given).replace("LANES", String(lanes)), lanes);
  const half16 = component === "f16";
  const module = device.gpu.createShaderModule({ code: half16 ? `enable f16; ${code}` : code });
  const [a, b] = [1, 2].map((seed) => draw(1100, "uniform", seed).map((v) => (half16 ? half(v) : v)));
  const buffers = [a, b, new Float64Array(1100)].map((values, i) => {
    const data = half16 && i < 2 ? Uint16Array.from(values, bitsOfHalf) : Float32Array.from(values);
    const buffer = device.buffer(`operand ${i}`, data.byteLength, 0x80 | 0x4 | 0x8);
    device.gpu.queue.writeBuffer(buffer, 0, data);
    return buffer;
  });
  const pipeline = await device.gpu.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const bound = device.bindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const read = device.buffer("read", 4400, 0x1 | 0x8);
  const encoder = device.gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bound);
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffers[2], 0, read, 0, 4400);
  device.gpu.queue.submit([encoder.finish()]);
  await device.wait(read.mapAsync(1));
  const actual = Float32Array.from(new Float32Array(read.getMappedRange()));
  device.check("running emulated matrices");
  for (const buffer of [...buffers, read]) device.release(buffer);
  const at = (row: number, column: number) => 4 + (layout === "row_major" ? row * 32 + column : column * 32 + row);
  const expected = new Float64Array(1100);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) for (let t = 0; t < k; t++) expected[at(i, j)] += a[at(i, t)] * b[at(t, j)];
  for (let i = 0; i < 1100; i++)
    assert.ok(
      Math.abs(actual[i] - expected[i]) < 1e-5,
      `${JSON.stringify(given)}: ${actual[i]} for ${expected[i]} at ${i}`,
    );
}

/** Of a number that is one. */
function bitsOfHalf(v: number): number {
  const sign = v < 0 || Object.is(v, -0) ? 0x8000 : 0;
  const size = Math.abs(v);
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | ((exponent + 15) << 10) | ((size / 2 ** exponent - 1) * 1024);
}

test("matrices of any shape, of either layout, from arrays of numbers and of vectors", async () => {
  await check({ m: 8, n: 8, k: 8 });
  await check({ m: 8, n: 16, k: 4, layout: "col_major" });
  await check({ m: 16, n: 8, k: 16, component: "f16" });
  await check({ m: 8, n: 8, k: 16, component: "f16", layout: "col_major", width: 4 });
  await check({ m: 16, n: 16, k: 8, width: 4 });
});

test("rows that are no multiple of the lanes", async () => {
  await check({ m: 4, n: 3, k: 5 });
  await check({ m: 11, n: 5, k: 9, layout: "col_major" });
});

test("the form with a bool for the layout", async () => {
  await check({ m: 8, n: 8, k: 8, older: true });
  await check({ m: 8, n: 4, k: 8, layout: "col_major", older: true });
});

test("a shader without matrices stays as it is", () => {
  const text = "enable subgroups; // subgroups alone\n@compute @workgroup_size(1) fn main() {}";
  assert.is(emulated(text, 8), text);
});

test("what is not known is refused, with its line", () => {
  const whole = shaderOf({ m: 8, n: 8, k: 8 });
  assert.ok(emulated(whole, 8));
  const refused = (from: string | RegExp, to: string, message: RegExp) => {
    const text = whole.replace(from, to);
    assert.is.not(text, whole, "replaces something");
    assert.throws(() => emulated(text, 8), message);
  };
  refused("subgroupMatrixMultiplyAccumulate", "subgroupMatrixMultiply", /line 14: subgroupMatrixMultiply is not known/);
  refused("Result();", "Result(1.0);", /line 13: matrices made of a value other than 0/);
  refused("row_major", "diagonal", /the layout diagonal is not known/);
  refused("row_major", "", /arguments of subgroupMatrixLoad are not known/);
  refused("result<f32", "result<f16", /line 7: result matrices of f16 are not emulated/);
  refused("left<f32", "left<i8", /left matrices of i8 are not emulated/);
  refused("left<f32", "left<f16", /a has elements of f32/);
  refused("right<f32, 8, 8>", "right<f32, 8, 4>", /is no emulated_result/);
  refused("&a", "&elsewhere", /elsewhere is no array/);
  refused("&a", "pointer", /pointer is no &variable/);
  refused("COLUMNS, 8>", "LOST, 8>", /the size LOST is neither a number nor a const/);
  refused("sum);\n", "sum); let other = subgroup_matrix_result<f32, 16, 16>();\n", /2 types of result matrices/);
  refused("var sum", "var other: subgroup_matrix_middle<f32, 8, 8>; var sum", /subgroup_matrix_middle is not known/);
});

test.after(closeDevice);
test.run();
