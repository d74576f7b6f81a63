/** SwiftShader, a Vulkan driver that runs on the CPU, for Linux machines where no driver may be installed. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { UserError } from "../errors.js";

/** A package of Chromium for servers, which carries SwiftShader and a Vulkan loader; nothing else of it is kept. */
const carrier = { name: "@sparticuz/chromium", version: "153.0.0", archive: "package/bin/swiftshader.tar.br" };
const files = ["libvk_swiftshader.so", "libvulkan.so.1", "vk_swiftshader_icd.json"];

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "mpn-webgpu");
}

/** The folder of the SwiftShader that was fetched earlier, or null. */
export function cachedSwiftShader(): string | null {
  const folder = join(cacheFolder(), `swiftshader-${carrier.version}`);
  return existsSync(folder) ? folder : null;
}

/** `env`, changed so that a process started with it uses the SwiftShader in `folder`, and only that. */
export function swiftShaderEnvironment(folder: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { VK_DRIVER_FILES: _, ...rest } = env;
  return {
    ...rest,
    LD_LIBRARY_PATH: [folder, env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter),
    VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json"),
  };
}

/**
 * Fetches SwiftShader into the cache folder and returns where it is.
 * @throws UserError where there is none for this processor, or it cannot be fetched or written.
 */
export function fetchSwiftShader(say: (line: string) => void): string {
  const advice = "install a Vulkan driver: your GPU's, or mesa-vulkan-drivers 23 or newer";
  if (process.arch !== "x64") {
    throw new UserError(`Dawn found no adapter, and there is no SwiftShader for ${process.arch}; ${advice}`);
  }
  const cache = cacheFolder();
  say(`fetching SwiftShader, a Vulkan driver for the CPU, into ${cache} (70 MB to download, 7 MB to keep, once)`);
  let work: string | null = null;
  try {
    mkdirSync(cache, { recursive: true });
    work = mkdtempSync(join(cache, "fetch-"));
    run("npm", ["pack", `${carrier.name}@${carrier.version}`, "--silent"], work);
    const tarball = readdirSync(work).find((name) => name.endsWith(".tgz"));
    if (tarball === undefined) throw new Error("npm pack left no archive");
    const packed = run("tar", ["-xzOf", tarball, carrier.archive], work);
    const unpacked = join(work, "swiftshader");
    mkdirSync(unpacked);
    run("tar", ["-xf", "-", ...files], unpacked, brotliDecompressSync(packed));
    // Renamed when whole: the folder's being there is the record that later runs look for.
    const target = join(cache, `swiftshader-${carrier.version}`);
    renameSync(unpacked, target);
    return target;
  } catch (cause) {
    const message = `Dawn found no adapter, and SwiftShader could not be fetched: ${(cause as Error).message}; ${advice}`;
    throw new UserError(message, { cause });
  } finally {
    if (work !== null) rmSync(work, { recursive: true, force: true });
  }
}

function run(command: string, args: string[], cwd: string, input?: Buffer): Buffer {
  const child = spawnSync(command, args, { cwd, input, maxBuffer: 1 << 28, timeout: 600_000 });
  if (child.error) throw child.error;
  if (child.status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${child.stderr.toString().trim()}`);
  return child.stdout;
}
