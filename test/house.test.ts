import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, posix } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = dirname(import.meta.dirname);

/** What each part of src/ may import besides itself: only parts below it, never one beside it. */
const core = ["errors", "generated", "random", "text"];
const engine = [...core, "gpu", "graph", "ops", "nn"];
const domain = [...engine, "formats", "models", "data"];
const application = [...domain, "export", "training", "retrieval", "report"];
const allowed: Record<string, string[]> = {
  errors: [],
  generated: [],
  random: [],
  text: [],
  formats: ["errors"],
  gpu: core,
  graph: [...core, "gpu"],
  ops: [...core, "gpu", "graph"],
  nn: [...core, "formats", "gpu", "graph", "ops"],
  models: [...engine, "formats"],
  data: [...engine, "formats"],
  export: domain,
  training: domain,
  retrieval: domain,
  report: domain,
  setup: ["errors"], // finds an adapter before anything else runs, so it stands alone; its .mjs files are no modules of src
  cli: [...application, "setup", "index", "engine"],
  engine,
  index: [...application, "engine"],
};

/** Specifiers of all static, re-exporting and dynamic imports, types included. */
function importsOf(source: string): string[] {
  const pattern =
    /^(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']|^import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...source.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3]);
}

/** The part of a file, by its path from src/: its folder, or its own name at the top level. */
const partOf = (file: string) => file.split("/")[0].replace(/(\.d)?\.[jt]s$/, "");

const packages = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies);
const packageOf = (specifier: string) => specifier.match(/^(?:@[^/]+\/)?[^/]+/)?.[0] ?? specifier;

/** Why a file of src/ must not import something, or undefined if it may. */
function objection(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith("."))
    return isBuiltin(specifier) || packages.includes(packageOf(specifier))
      ? undefined
      : `src/${file} imports "${specifier}", which is no dependency of package.json`;
  const target = posix.join(posix.dirname(file), specifier);
  const [from, to] = [partOf(file), partOf(target)];
  if (from === to || allowed[from]?.includes(to)) return undefined;
  return `src/${file} imports "${specifier}": ${from} must not depend on ${to}`;
}

test("imports in src/ point downwards", () => {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".ts"));
  assert.ok(files.length > 0);
  const objections = files.flatMap((file) =>
    importsOf(readFileSync(join(root, "src", file), "utf8")).flatMap((specifier) => objection(file, specifier) ?? []),
  );
  assert.is(objections.length, 0, `\n${objections.join("\n")}`);
});

test("every part of src/ has its place", () => {
  const parts = readdirSync(join(root, "src")).map(partOf);
  assert.equal(
    parts.filter((part) => !(part in allowed)),
    [],
  );
});

test("all kinds of import are seen", () => {
  const source = `import a from "./a.js";
import type {
  B,
} from '../b.js';
import "./c.js";
export * from "./d.js";
export const from = "e", e = await import("./e.js");
const text = 'taken from "./no.js"';
type F = import("./f.js").F;`;
  assert.equal(importsOf(source), ["./a.js", "../b.js", "./c.js", "./d.js", "./e.js", "./f.js"]);
});

for (const [file, specifier] of [
  ["gpu/device.ts", "../graph/tensor.js"],
  ["graph/tensor.ts", "../ops/relu.js"],
  ["ops/relu.ts", "../nn/layer.js"],
  ["ops/relu.ts", "../models/mpn.js"],
  ["formats/onnx.ts", "../gpu/device.js"],
  ["training/trainer.ts", "../cli/train.js"],
  ["retrieval/metrics.ts", "../report/data.js"],
  ["engine.ts", "./models/mpn.js"],
  ["nn/layer.ts", "../setup/adapter.js"],
  ["setup/adapter.ts", "../gpu/device.js"],
  ["data/image.ts", "uvu"],
])
  test(`src/${file} may not import ${specifier}`, () => {
    const message = objection(file, specifier);
    assert.match(message ?? "", `src/${file}`);
    assert.match(message ?? "", specifier);
  });

for (const [file, specifier] of [
  ["ops/conv2d/forward.ts", "../../gpu/kernel.js"],
  ["ops/relu.ts", "./shapes.js"],
  ["gpu/kernel.ts", "../generated/shaders.js"],
  ["retrieval/gradcam.ts", "../models/mpn.js"],
  ["cli/train.ts", "../training/trainer.js"],
  ["index.ts", "./engine.js"],
  ["data/image.ts", "node:fs/promises"],
  ["data/image.ts", "sharp"],
])
  test(`src/${file} may import ${specifier}`, () => assert.is(objection(file, specifier), undefined));

test.run();
