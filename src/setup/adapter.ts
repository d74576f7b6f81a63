/**
 * Makes sure that Dawn finds an adapter: a real GPU where there is one; on Linux otherwise lavapipe, installed with apt
 * where that is allowed; otherwise SwiftShader from a package, kept in a cache folder.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.js";
import { installLavapipe } from "./lavapipe.js";
import { cachedSwiftShader, fetchSwiftShader, swiftShaderEnvironment } from "./swiftshader.js";

export interface Adapter {
  readonly name: string;
  /** Whether the CPU stands in for a GPU. */
  readonly software: boolean;
}

export interface PreparedAdapter extends Adapter {
  /** The environment that a process must start with to find this adapter. */
  readonly env: NodeJS.ProcessEnv;
}

export type Say = (line: string) => void;

/** This process's environment, with the folder that Vulkan loaders complain about when it is not set. */
export function baseEnvironment(): NodeJS.ProcessEnv {
  if (process.platform !== "linux") return { ...process.env };
  return { ...process.env, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR || tmpdir() };
}

/**
 * The adapter that a process started with `env` finds, or null.
 * @throws UserError where Dawn itself cannot be loaded.
 */
export function probeAdapter(env: NodeJS.ProcessEnv): Adapter | null {
  const probe = fileURLToPath(new URL("./probe.js", import.meta.url));
  const child = spawnSync(process.execPath, [probe], { env, encoding: "utf8", timeout: 60_000 });
  if (child.status === 0) return JSON.parse(child.stdout) as Adapter | null;
  // A driver that crashes or hangs Dawn is as good as none.
  if (child.status === null) return null;
  const reason = child.stderr.split("\n").find((line) => line.startsWith("Error: ")) ?? child.stderr.trim();
  throw new UserError(`the package "webgpu" (Dawn) cannot be loaded on ${process.platform}-${process.arch}: ${reason}`);
}

/**
 * Finds an adapter or provides one, telling `say` what is done and why.
 * @throws UserError where none can be had, with what was tried.
 */
export function ensureAdapter(say: Say): PreparedAdapter {
  const env = baseEnvironment();
  const ready = (adapter: Adapter | null, environment: NodeJS.ProcessEnv): PreparedAdapter | null => {
    if (adapter === null) return null;
    say(`adapter: ${adapter.name}${adapter.software ? " (software: the CPU does the work of a GPU)" : ""}`);
    return { ...adapter, env: environment };
  };

  let prepared = ready(probeAdapter(env), env);
  if (prepared?.software && existsSync("/dev/nvidia0")) {
    say("an NVIDIA GPU is here, but not its Vulkan driver (libGLX_nvidia and its nvidia_icd.json): it stays unused");
  }
  if (prepared) return prepared;
  if (process.platform !== "linux") {
    throw new UserError(
      "Dawn found no adapter through Metal or Direct3D 12. Update the graphics driver, and run outside of a remote or " +
        "headless session.",
    );
  }

  const tried: string[] = [];
  if (cachedSwiftShader() === null) {
    const lavapipe = installLavapipe(say);
    prepared = ready(lavapipe.installed ? probeAdapter(env) : null, env);
    if (prepared) return prepared;
    tried.push(lavapipe.installed ? "lavapipe was installed, but Dawn does not accept it" : lavapipe.reason);
    say(`no lavapipe: ${tried[0]}`);
  }
  const folder = cachedSwiftShader() ?? fetchSwiftShader(say);
  const withSwiftShader = swiftShaderEnvironment(folder, env);
  prepared = ready(probeAdapter(withSwiftShader), withSwiftShader);
  if (prepared) {
    say(
      "SwiftShader is 5 to 15 times slower than lavapipe (mesa-vulkan-drivers 23 or newer), which is used once installed",
    );
    return prepared;
  }
  tried.push(`SwiftShader in ${folder} does not run here`);
  throw new UserError(
    `Dawn found no adapter. ${tried.join("; ")}. Install a Vulkan driver: your GPU's, or mesa-vulkan-drivers 23 or newer.`,
  );
}

/**
 * The environment to restart this process with where it finds no adapter but a SwiftShader that the setup fetched
 * earlier would serve; null where a restart would not help.
 */
export function environmentForRestart(): NodeJS.ProcessEnv | null {
  const folder = cachedSwiftShader();
  if (folder === null) return null;
  const env = baseEnvironment();
  const withSwiftShader = swiftShaderEnvironment(folder, env);
  if (env.VK_ICD_FILENAMES === withSwiftShader.VK_ICD_FILENAMES) return null;
  return probeAdapter(env) === null ? withSwiftShader : null;
}
