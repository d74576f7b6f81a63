/** GPUs' own compilers, on devices that are not there: the drivers, and the environment in which a process finds them. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "#src/errors.js";
import { temporaryFolder } from "../temporary.js";
import { type Code, nakCode, radvCode } from "./listing.js";

/** Nothing here compiles for such a device; says what is missing. */
export class NoCompiler extends UserError {}

export interface Compiler {
  readonly title: string;
  /** To be set beside the process's own. */
  readonly env: Readonly<Record<string, string>>;
  /** What the driver printed while it compiled one pipeline. */
  readonly read: (listing: string) => Code;
}

const COMMANDS = fileURLToPath(new URL("./null-commands.c", import.meta.url));
const MANIFESTS = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

const common = { MESA_SHADER_CACHE_DISABLE: "true", XDG_RUNTIME_DIR: tmpdir() };

/**
 * AMD's, by Mesa's RADV, which has devices without hardware for this purpose (25.0; no longer in 26.1). Their command buffers crash, so that
 * null-commands.c, compiled here, stands between.
 * @param family a name that RADV_FORCE_FAMILY takes: navi21 (RDNA 2), navi31 (RDNA 3), navi48 (RDNA 4)
 * @throws NoCompiler where there is no C compiler or no RADV
 */
export function radv(family: string): Compiler {
  const driver = driverOf("radeon_icd");
  const folder = temporaryFolder("mpn-machine-code-");
  const library = join(folder, "libnull-commands.so");
  const { status, error, stderr } = spawnSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, COMMANDS, "-ldl"]);
  if (error)
    throw new NoCompiler(
      `No C compiler was found (cc: ${error.message}). On Debian and Ubuntu: apt install gcc libc6-dev`,
    );
  if (status !== 0) throw new UserError(`cc could not compile ${COMMANDS}: ${stderr}`);
  const manifest = join(folder, "icd.json");
  writeFileSync(
    manifest,
    JSON.stringify({ file_format_version: "1.0.1", ICD: { library_path: library, api_version: "1.3.0" } }),
  );
  return {
    title: `RADV, null device ${family}`,
    env: {
      ...common,
      ...only(manifest),
      REAL_ICD: driver,
      RADV_FORCE_FAMILY: family,
      RADV_DEBUG: "asm,shaderstats",
    },
    read: radvCode,
  };
}

/**
 * NVIDIA's, by Mesa's NVK (its compiler is NAK). The device is Mesa's own stand-in for the kernel's driver, which distributions do not
 * package: `meson setup build -Dtools=drm-shim -Dgallium-drivers=nouveau -Dvulkan-drivers= -Dplatforms= -Dglx=disabled -Degl=disabled
 * -Dgbm=disabled -Dopengl=false -Dllvm=disabled && ninja -C build src/nouveau/drm-shim/libnouveau_noop_drm_shim.so`.
 * @param shim that library
 * @param chipset in hexadecimal: 170 (A100), 172 (GeForce 30), 192 (GeForce 40)
 * @throws NoCompiler where there is no NVK
 */
export function nvk(shim: string, chipset: string): Compiler {
  if (!existsSync(shim)) throw new UserError(`--shim ${shim}: there is no such file.`);
  const { manifest } = manifestOf("nouveau_icd");
  return {
    title: `NVK, noop device ${chipset}`,
    env: { ...common, ...only(manifest), LD_PRELOAD: resolve(shim), NOUVEAU_CHIPSET: chipset, NAK_DEBUG: "print" },
    read: nakCode,
  };
}

/** Makes a Vulkan loader see one driver; older and newer ones read different names. */
const only = (manifest: string) => ({ VK_ICD_FILENAMES: manifest, VK_DRIVER_FILES: manifest });

function driverOf(name: string): string {
  const { manifest, library } = manifestOf(name);
  if (library.startsWith("/")) return library;
  if (library.includes("/")) return resolve(dirname(manifest), library);
  // By its name alone: where the linker looks.
  return library;
}

function manifestOf(name: string): { manifest: string; library: string } {
  const suffixes = ["", `.${process.arch === "x64" ? "x86_64" : "aarch64"}`];
  const manifest = MANIFESTS.flatMap((folder) => suffixes.map((suffix) => join(folder, `${name}${suffix}.json`))).find(
    existsSync,
  );
  if (!manifest)
    throw new NoCompiler(
      `Mesa's driver ${name} was not found in ${MANIFESTS.join(", ")}. On Debian and Ubuntu: apt install mesa-vulkan-drivers`,
    );
  return { manifest, library: JSON.parse(readFileSync(manifest, "utf8")).ICD.library_path };
}
