import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const dist = join(dirname(import.meta.dirname), "dist");

/** Static imports of a built module, re-exports included. */
const staticImports = (source: string) =>
  [...source.matchAll(/^(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']|^import\s*["']([^"']+)["']/gm)].map(
    (match) => match[1] ?? match[2],
  );

/** All modules that the engine loads, those of packages included. */
function engineModules(): Map<string, string> {
  const modules = new Map<string, string>();
  const pending = [join(dist, "engine.js")];
  for (let file = pending.pop(); file; file = pending.pop()) {
    if (modules.has(file)) continue;
    const source = readFileSync(file, "utf8");
    modules.set(file, source);
    for (const specifier of staticImports(source)) {
      assert.not.ok(isBuiltin(specifier), `${relative(dist, file)} imports ${specifier}, which no browser has`);
      pending.push(
        specifier.startsWith(".") ? join(dirname(file), specifier) : fileURLToPath(import.meta.resolve(specifier)),
      );
    }
  }
  return modules;
}

test("the engine imports nothing of Node's, neither by itself nor through packages", () => {
  const files = [...engineModules().keys()].map((file) => relative(dist, file));
  assert.ok(files.includes("gpu/device.js"));
  assert.ok(files.includes("ops/conv2d.js"));
  assert.not.ok(files.some((file) => /^(models|data|training|retrieval|report|cli|setup)/.test(file)));
});

test("the engine's modules mention none of Node's globals but those they ask for first", () => {
  for (const [file, source] of engineModules()) {
    if (!file.startsWith(dist)) continue;
    const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
    assert.not.match(code, /\b(Buffer\.|process\.|require\(|__dirname|import\.meta)/, relative(dist, file));
  }
});

test("the engine loads where there is neither Buffer nor process nor shared memory", () => {
  const script = `
    for (const name of ["Buffer", "process", "SharedArrayBuffer", "setImmediate"]) delete globalThis[name];
    const engine = await import(${JSON.stringify(join(dist, "engine.js"))});
    console.log(typeof engine.Device.wrap, typeof engine.conv2d);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.is(stdout.trim(), "function function", stderr);
});

test("what users import is there", async () => {
  const [engine, index] = await Promise.all([import("mpn-webgpu/engine"), import("mpn-webgpu")]);
  for (const name of ["Device", "Program", "input", "conv2d", "gradients", "Build", "ParameterStore", "fuse"])
    assert.ok(name in engine, name);
  for (const name of ["Device", "loadDataset", "Trainer", "loadConfig", "evaluateRanking", "modelOf", "writeReport"])
    assert.ok(name in index, name);
  assert.is(index.Device, engine.Device);
});

test.run();
