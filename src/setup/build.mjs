// Builds dist/: embeds shaders/*.wgsl as a module (so that the engine runs in a browser without a file system), then
// compiles. `npm run build` always builds; `buildIfChanged` compares the sources with those of the last build.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const stamp = join(root, ".build/sources.sha256");

/** Builds; returns whether every type was right. tsc writes dist/ even where it is not. */
export function build() {
  const sources = digestOfSources();
  rmSync(stamp, { force: true });
  embedShaders();
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { status } = spawnSync(process.execPath, [compiler, "-p", root], {
    stdio: ["inherit", process.stderr.fd, "inherit"],
  });
  removeOrphans();
  const cli = join(root, "dist/cli/index.js");
  if (existsSync(cli)) chmodSync(cli, 0o755);
  if (status !== 0) return false;
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, sources);
  return true;
}

/** Builds where dist/ is missing or older than the sources; returns whether dist/ is whole. */
export function buildIfChanged(say) {
  if (!existsSync(join(root, "dist"))) say("building dist/ (there is none yet)");
  else if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== digestOfSources())
    say("building dist/ (sources changed)");
  else return true;
  return build();
}

function listFiles(folder, pattern) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** By content, not by time: a checkout touches every file. */
function digestOfSources() {
  const files = [
    "tsconfig.json",
    "package-lock.json",
    ...listFiles("src", /\.(ts|mjs)$/),
    ...listFiles("shaders", /\.wgsl$/),
  ];
  const hash = createHash("sha256");
  for (const file of files.filter((name) => !/[\\/]generated[\\/]/.test(name))) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update("\0");
  }
  return hash.digest("hex");
}

function embedShaders() {
  const entries = readdirSync(join(root, "shaders"))
    .filter((file) => file.endsWith(".wgsl"))
    .sort()
    .map((file) => {
      const text = readFileSync(join(root, "shaders", file), "utf8");
      return `  ${JSON.stringify(file.replace(/\.wgsl$/, ""))}: ${JSON.stringify(text)},\n`;
    });
  const header = "// Written by src/setup/build.mjs from shaders/*.wgsl; do not edit.\n";
  const text = `${header}export const shaderTexts = {\n${entries.join("")}};\n`;
  const target = join(root, "src/generated/shaders.ts");
  mkdirSync(dirname(target), { recursive: true });
  if (!existsSync(target) || readFileSync(target, "utf8") !== text) writeFileSync(target, text);
}

/** A module whose source was renamed or deleted must not stay importable. */
function removeOrphans() {
  for (const file of existsSync(join(root, "dist")) ? listFiles("dist", /\.(d\.ts|js|js\.map)$/) : []) {
    const source = join("src", file.slice("dist".length + 1).replace(/\.(d\.ts|js|js\.map)$/, ".ts"));
    if (!existsSync(join(root, source))) rmSync(join(root, file));
  }
}

// MPN_SKIP_BUILD: prepare.mjs installs packages, which runs this as npm's "prepare" script, and builds afterwards itself.
const typed = process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url);
if (typed && !process.env.MPN_SKIP_BUILD) process.exitCode = build() ? 0 : 1;
