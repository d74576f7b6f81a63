// What `npm start` and `npm test` need first, in a clone where nothing is installed: packages, dist/, an adapter. Only
// Node's builtins are imported until the packages are there. A second time takes well under a second.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildIfChanged, root } from "./build.mjs";

const say = (line) => console.log(`setup: ${line}`);

/**
 * Makes sure of packages, dist/ and an adapter. Returns the environment to start the next process with, and the adapter
 * that it will find; ends the process with a message where something is missing that it cannot provide.
 */
export async function prepare() {
  try {
    requireNode();
    installPackages();
    if (!buildIfChanged(say)) throw new Error("the build failed; the errors above name the places");
    const { ensureAdapter } = await import("../../dist/setup/adapter.js");
    return await ensureAdapter(say);
  } catch (error) {
    if (process.env.MPN_DEBUG) throw error;
    console.error(`setup: ${error.message}`);
    process.exit(1);
  }
}

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 9)) {
    throw new Error(`Node ${process.versions.node} is too old; install Node 20.9 or newer from https://nodejs.org`);
  }
}

function installPackages() {
  const why = reasonToInstall();
  if (why === null) return;
  say(`installing packages with npm ci (${why})`);
  // npm tells scripts where it is itself; the bare name serves when this file is run with node.
  const own = process.env.npm_execpath;
  const [command, ...args] = own?.endsWith(".js") ? [process.execPath, own] : ["npm"];
  const flags = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  // The build follows as a step of its own, with its own message.
  const env = { ...process.env, MPN_SKIP_BUILD: "1" };
  const shell = process.platform === "win32" && args.length === 0;
  // Its output is no part of what the command prints, such as a report as JSON.
  const result = spawnSync(command, [...args, ...flags], {
    cwd: root,
    env,
    stdio: ["inherit", process.stderr.fd, "inherit"],
    shell,
  });
  if (result.status !== 0) throw new Error("npm ci failed; its message is above. Is the package registry reachable?");
  mkdirSync(join(root, ".build"), { recursive: true });
  writeFileSync(join(root, ".build/packages.sha256"), digestOfLock());
}

function reasonToInstall() {
  // npm writes this file last, so that an interrupted installation does not have it.
  const installed = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return "node_modules is missing or incomplete";
  if (statSync(installed).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs) return null;
  const stamp = join(root, ".build/packages.sha256");
  return existsSync(stamp) && readFileSync(stamp, "utf8") === digestOfLock() ? null : "package-lock.json changed";
}

function digestOfLock() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}
