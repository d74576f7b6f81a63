/** Installs lavapipe, Mesa's Vulkan driver for the CPU, on Debian and Ubuntu machines where that is allowed. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Dawn refuses Mesa 22.3, the one of Debian 12. */
const OLDEST_MESA = 23;
const packages = ["libvulkan1", "mesa-vulkan-drivers"];
const sourcesFolder = "/etc/apt/sources.list.d";

export type Installation = { installed: true } | { installed: false; reason: string };

/** A file of apt sources. */
export interface SourcesFile {
  path: string;
  text: string;
}

/** Installs lavapipe with apt-get as root or by a sudo that asks no password; `MPN_SETUP_APT=0` forbids it. */
export function installLavapipe(say: (line: string) => void): Installation {
  const failed = (reason: string): Installation => ({ installed: false, reason });
  if (process.env.MPN_SETUP_APT === "0") return failed("MPN_SETUP_APT=0 forbids installing it");
  if (!existsSync("/usr/bin/apt-get")) return failed("this system has no apt-get to install it with");
  const root = asRoot();
  if (root === null) return failed("installing it needs root, or sudo without a password");

  say("no adapter found; installing lavapipe, Mesa's Vulkan driver for the CPU, with apt-get");
  const apt = (...args: string[]) => {
    const options = ["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::http::Timeout=30"];
    return run([...root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", ...options, ...args]);
  };
  apt("update"); // A broken third-party source fails this; the installation tells whether it mattered.
  let target: string[] = [];
  let added: string | null = null;
  if (majorVersion(candidateVersion()) < OLDEST_MESA) {
    const { ID, VERSION_CODENAME } = osRelease();
    if (ID !== "debian" || !VERSION_CODENAME)
      return failed(`the packaged Mesa is older than ${OLDEST_MESA}, too old for Dawn`);
    const suite = `${VERSION_CODENAME}-backports`;
    const entry = backportsEntry(readSources(), VERSION_CODENAME);
    if (entry === null) return failed(`found no Debian mirror in /etc/apt to take ${suite} from`);
    if (entry !== "present") {
      added = join(sourcesFolder, `mpn-webgpu-backports${entry.extension}`);
      say(`this release's Mesa is too old for Dawn; adding ${suite} from the machine's own mirror as ${added}`);
      const written = run([...root, "tee", added], entry.text);
      if (!written.ok) return failed(`cannot write ${added}: ${written.reason}`);
      apt("update");
    }
    target = ["-t", suite];
  }
  const result = apt("install", "-y", "--no-install-recommends", ...target, ...packages);
  if (result.ok) return { installed: true };
  if (added !== null) run([...root, "rm", "-f", added]);
  return failed(`apt-get could not install it: ${result.reason}`);
}

/**
 * The source of `<codename>-backports`: a copy of the machine's own entry for `codename`, with its mirror, key and
 * options, for another suite. "present" where some entry has the suite already, null where there is none to copy.
 */
export function backportsEntry(
  sources: readonly SourcesFile[],
  codename: string,
): { text: string; extension: ".sources" | ".list" } | "present" | null {
  const suite = `${codename}-backports`;
  const entries = sources.flatMap(({ path, text }) => (path.endsWith(".sources") ? stanzas(text) : oneLiners(text)));
  if (entries.some((entry) => entry.suites.includes(suite))) return "present";
  const fitting = entries.filter((entry) => entry.suites.includes(codename) && entry.components.includes("main"));
  // Others than Debian name their suites after its releases too; Debian's own archive is a folder of that name.
  const own = fitting.find((entry) => entry.uris.some((uri) => /\/debian\/?$/.test(uri))) ?? fitting[0];
  return own === undefined ? null : { text: own.withSuite(suite), extension: own.extension };
}

interface Entry {
  uris: string[];
  suites: string[];
  components: string[];
  extension: ".sources" | ".list";
  withSuite(suite: string): string;
}

const words = (text = "") => text.split(/\s+/).filter(Boolean);

/** The deb822 format: stanzas of `Field: value`, a value going on in lines that begin with a blank. */
function stanzas(text: string): Entry[] {
  const withoutComments = text.replace(/^#.*\n?/gm, "");
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = [...stanza.matchAll(/^([A-Za-z-]+):(.*(?:\n[ \t].*)*)/gm)].map(([, name, value]) => [
      name,
      value.trim(),
    ]);
    const field = (wanted: string) => fields.find(([name]) => name.toLowerCase() === wanted)?.[1];
    if (!words(field("types")).includes("deb") || field("enabled")?.toLowerCase() === "no") return [];
    return {
      uris: words(field("uris")),
      suites: words(field("suites")),
      components: words(field("components")),
      extension: ".sources" as const,
      withSuite: (suite: string) => {
        const changed: Record<string, string> = { types: "deb", suites: suite };
        return fields.map(([name, value]) => `${name}: ${changed[name.toLowerCase()] ?? value}\n`).join("");
      },
    };
  });
}

/** The one-line format: `deb [options] uri suite component...`. */
function oneLiners(text: string): Entry[] {
  return [...text.matchAll(/^[ \t]*deb[ \t]+(\[[^\]]*\][ \t]+)?(\S+)[ \t]+(\S+)[ \t]+([^#\n]+)/gm)].map(
    ([, options = "", uri, suite, components]) => ({
      uris: [uri],
      suites: [suite],
      components: words(components),
      extension: ".list" as const,
      withSuite: (other: string) => `deb ${options}${uri} ${other} ${components.trim()}\n`,
    }),
  );
}

function readSources(): SourcesFile[] {
  const more = existsSync(sourcesFolder) ? readdirSync(sourcesFolder).sort() : [];
  return ["/etc/apt/sources.list", ...more.map((name) => join(sourcesFolder, name))]
    .filter((path) => /\.(list|sources)$/.test(path) && existsSync(path))
    .map((path) => ({ path, text: readFileSync(path, "utf8") }));
}

/** What to put before a command so that it runs as root, or null. */
function asRoot(): string[] | null {
  if (process.getuid?.() === 0) return [];
  return run(["sudo", "-n", "true"]).ok ? ["sudo", "-n"] : null;
}

function candidateVersion(): string {
  const { output } = run(["env", "LC_ALL=C", "apt-cache", "policy", "mesa-vulkan-drivers"]);
  return /Candidate: (\S+)/.exec(output)?.[1] ?? "";
}

/** `25` of `1:25.0.7-2~bpo12+1`; 0 where there is no version. */
function majorVersion(version: string): number {
  return Number(/^(?:\d+:)?(\d+)/.exec(version)?.[1] ?? 0);
}

function osRelease(): Record<string, string | undefined> {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  return Object.fromEntries([...text.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map(([, key, value]) => [key, value]));
}

function run([command, ...args]: string[], input?: string): { ok: boolean; output: string; reason: string } {
  const child = spawnSync(command, args, { input, encoding: "utf8", timeout: 900_000, maxBuffer: 1 << 26 });
  const complaints = (child.stderr ?? "").split("\n").filter((line) => /^E: /.test(line));
  const reason = child.error?.message ?? (complaints.join(" ") || (child.stderr ?? "").trim().split("\n").at(-1) || "");
  return { ok: child.status === 0, output: child.stdout ?? "", reason };
}
