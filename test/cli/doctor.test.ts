import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { batchNormalization, convolution, crossEntropy, product } from "#src/cli/doctor/references.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

function doctor(env: NodeJS.ProcessEnv, ...args: string[]) {
  return spawnSync(process.execPath, ["dist/cli/index.js", "doctor", ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, MPN_DEBUG: "", ...env },
  });
}

test("doctor tells the adapter and passes its own checks", () => {
  const { stdout, stderr, status } = doctor({}, "--json");
  const answer = JSON.parse(stdout);
  assert.type(answer.adapter, "string");
  assert.type(answer.software, "boolean");
  assert.ok(Array.isArray(answer.features));
  assert.ok(answer.limits.maxStorageBufferBindingSize >= 2 ** 27);
  assert.ok(answer.checks.length >= 8);
  for (const { name, pass, error, bound } of answer.checks) {
    assert.ok(pass, `${name}: ${error}`);
    assert.ok(error <= bound);
  }
  assert.is(status, 0);
  assert.is(/SOFTWARE ADAPTER/.test(stderr), answer.software, "a software adapter is told loudly, a GPU is not");
});

test("without an adapter doctor says what to do", () => {
  if (process.platform !== "linux") return;
  // A loader with no driver, and a home without a SwiftShader that was fetched earlier.
  const nowhere = { VK_ICD_FILENAMES: "/nowhere.json", VK_DRIVER_FILES: "/nowhere.json", XDG_CACHE_HOME: "/nowhere" };
  const { stdout, stderr, status } = doctor({ ...nowhere, HOME: "/nowhere" }, "--json");
  assert.is(status, 1);
  assert.match(JSON.parse(stdout).error, /No WebGPU adapter was found.*npm start/s);
  assert.not.match(stderr, /\.js:\d+:\d+/);
});

test("the references agree with small cases worked out by hand", () => {
  const one = Float64Array.of(1, 2, 3, 4);
  const conv = convolution(
    { x: [1, 2, 2, 1], w: [1, 1, 1, 1], stride: 1, padding: 0 },
    one,
    Float64Array.of(3),
    Float64Array.of(1, 0, 0, 2),
  );
  assert.equal([...conv.y, ...conv.dx, ...conv.dw], [3, 6, 9, 12, 3, 0, 0, 6, 9]);
  const padded = convolution(
    { x: [1, 1, 1, 1], w: [3, 3, 1, 1], stride: 2, padding: 1 },
    Float64Array.of(2),
    Float64Array.from({ length: 9 }, (_, i) => i),
    Float64Array.of(1),
  );
  assert.equal([...padded.y], [8]);
  assert.equal([...product(one, one, 2, 2)], [7, 10, 15, 22]);
  const { loss, gradient } = crossEntropy(Float64Array.of(0, 0), Int32Array.of(1));
  assert.equal([...loss, ...gradient], [Math.log(2), 0.5, -0.5]);
  const bn = batchNormalization(
    Float64Array.of(-1, 1),
    Float64Array.of(2),
    Float64Array.of(5),
    Float64Array.of(1, 1),
    0,
  );
  assert.equal([...bn.y, ...bn.dx, ...bn.dgamma, ...bn.dbeta], [3, 7, 0, 0, 0, 2]);
});

test.run();
