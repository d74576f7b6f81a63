// `npm run bench`: prepares everything, then runs the whole report of bench/index.ts. With one of the names that `mpn bench`
// knows, as in `npm run bench -- model --profile`, it is that command.
import { spawn } from "node:child_process";
import { root } from "./build.mjs";
import { prepare } from "./prepare.mjs";

// Stdout is the report's alone.
console.log = console.error;
const { env } = await prepare();
const args = process.argv.slice(2);
const part = ["model", "kernels", "table8", "rerank"].includes(args[0]);
const command = part ? ["dist/cli/index.js", "bench", ...args] : ["--import", "tsx", "bench/index.ts", ...args];
const child = spawn(process.execPath, command, { cwd: root, env, stdio: "inherit" });
// The terminal sends Ctrl-C to both.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("close", (code) => {
  process.exitCode = code ?? 1;
});
