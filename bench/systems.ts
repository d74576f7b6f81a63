/** The systems that are compared, what is known of them, and which of them are here. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UserError } from "#src/errors.js";
import type { Command, Work } from "./peer.js";

export interface System {
  /** Name for `--systems` and JSON. */
  readonly name: string;
  readonly title: string;
  readonly works: readonly Work[];
  readonly command: Command;
  /** Package whose version is told. */
  readonly package?: string;
  /** Some of its arithmetic is in float16: what it computes has bounds of its own. */
  readonly halves?: boolean;
  /** Compared unasked only where the adapter has this; "a name" is what none has. */
  readonly needs?: Ability | "a name";
  /** What it tells about GPU buffers, where it tells anything. */
  readonly gpuBytes?: string;
}

/** What hardware adapters may have; no software adapter counts, as it gains nothing from either. */
export type Ability = "float16" | "matrix units";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const PEERS = here("./peers/");
const node = (...args: string[]): Command => ({ file: process.execPath, args });
const python = process.env.PYTHON ?? "/usr/bin/python3";
const torch = (device: string): Command => ({ file: python, args: [`${PEERS}torch_mpn.py`, device] });

export const OURS = "mpn-webgpu";
export const INSTALL = "npm ci --ignore-scripts --prefix bench/peers";

const OUR_CHILD = here("./ours.mjs");
const ours = { works: ["infer", "train", "step"], gpuBytes: "the most at once" } as const;
const cuda = { works: ["infer", "train", "step"], gpuBytes: "the most at once, by its allocator" } as const;

export const SYSTEMS: readonly System[] = [
  { ...ours, name: OURS, title: "mpn-webgpu", command: node(OUR_CHILD) },
  {
    // What the peers' default costs this engine.
    ...ours,
    name: `${OURS}-clamps`,
    title: "mpn-webgpu, with Dawn's index clamps",
    command: node(OUR_CHILD, "float32", "clamps"),
    needs: "a name",
  },
  {
    ...ours,
    name: `${OURS}-f16`,
    title: "mpn-webgpu, maps in float16",
    command: node(OUR_CHILD, "float16"),
    halves: true,
    needs: "float16",
  },
  {
    ...ours,
    name: `${OURS}-f16-matrix`,
    title: "mpn-webgpu, maps in float16, matrix units",
    command: node(OUR_CHILD, "float16", "matrix"),
    halves: true,
    needs: "matrix units",
  },
  {
    name: "ort-webgpu",
    title: "ONNX Runtime, WebGPU",
    works: ["infer"],
    command: node(`${PEERS}ort.mjs`, "webgpu"),
    package: "onnxruntime-node",
  },
  {
    name: "ort-web",
    title: "ONNX Runtime Web, WebGPU",
    works: ["infer"],
    // Otherwise V8 spends minutes of the CPU on optimising 25 MB of wasm.
    command: node("--liftoff-only", `${PEERS}ort.mjs`, "web"),
    package: "onnxruntime-web",
  },
  {
    name: "tfjs",
    title: "TensorFlow.js, WebGPU",
    works: ["infer", "train"],
    command: node(`${PEERS}tfjs.mjs`),
    package: "@tensorflow/tfjs",
    gpuBytes: "what it holds at the end",
  },
  {
    name: "jax-js",
    title: "jax-js, WebGPU",
    works: ["infer", "train"],
    command: node(`${PEERS}jax.mjs`),
    package: "@jax-js/jax",
  },
  {
    name: "ort-cpu",
    title: "ONNX Runtime, CPU",
    works: ["infer"],
    command: node(`${PEERS}ort.mjs`, "cpu"),
    package: "onnxruntime-node",
  },
  { name: "torch", title: "PyTorch, CPU", works: ["infer", "train", "step"], command: torch("cpu") },
  { ...cuda, name: "torch-cuda", title: "PyTorch, CUDA", command: torch("cuda") },
  { ...cuda, name: "torch-autocast", title: "PyTorch, autocast", command: torch("autocast"), halves: true },
];

export interface Presence {
  readonly present: readonly System[];
  /** Why others are not, a sentence each. */
  readonly absent: readonly string[];
}

/**
 * Those of the systems named, by default all that the adapter has something for, that can be run here.
 * @throws UserError for a name that is none
 */
export function findSystems(
  names: readonly string[] | undefined,
  abilities: readonly Ability[],
  installed = hasPackage,
): Presence {
  const unknown = names?.filter((name) => !SYSTEMS.some((system) => system.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new UserError(
      `--systems: there is no ${unknown.join(", ")}; choose from ${SYSTEMS.map(({ name }) => name).join(", ")}.`,
      { exitCode: 2 },
    );
  }
  const chosen = SYSTEMS.filter(
    ({ name, needs }) => names?.includes(name) ?? (!needs || abilities.some((ability) => ability === needs)),
  );
  const lacking = chosen.filter((system) => !installed(system));
  const torches = chosen.filter(({ name }) => name.startsWith("torch"));
  const devices = torches.length > 0 ? torchDevices() : [];
  const untold = names === undefined && devices.length > 0;
  const without = torches.filter(({ name }) => !devices.includes(name === "torch" ? "cpu" : "cuda"));
  return {
    present: chosen.filter((system) => !lacking.includes(system) && !without.includes(system)),
    absent: [
      ...(lacking.length > 0
        ? [`${lacking.map(({ title }) => title).join(", ")}: not installed; \`${INSTALL}\` installs them.`]
        : []),
      // A machine without CUDA need not hear of it unasked.
      ...(without.length > 0 && !untold
        ? [
            `${without.map(({ title }) => title).join(", ")}: ${python} ${devices.length > 0 ? "finds no CUDA" : "cannot import torch (another one: PYTHON=...)"}.`,
          ]
        : []),
    ],
  };
}

const hasPackage = (system: System) => system.package === undefined || versionOf(system) !== undefined;

export function versionOf({ package: name }: System): string | undefined {
  const file = `${PEERS}node_modules/${name}/package.json`;
  return name !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : undefined;
}

/** What torch can compute on: nothing where there is no torch. */
function torchDevices(): string[] {
  const program = "import torch; print('cpu cuda' if torch.cuda.is_available() else 'cpu')";
  const { status, stdout } = spawnSync(python, ["-c", program], { encoding: "utf8" });
  return status === 0 ? stdout.trim().split(" ") : [];
}
