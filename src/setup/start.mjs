// `npm start`: prepares everything, then runs the demonstration. Arguments after `--` go to `mpn demo`.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "./build.mjs";
import { prepare } from "./prepare.mjs";

const { env } = await prepare();
const command = [join(root, "dist/cli/index.js"), "demo", ...process.argv.slice(2)];
const child = spawn(process.execPath, command, { cwd: root, env, stdio: "inherit" });
// The terminal sends Ctrl-C to both; the demonstration saves its state and ends, and this process waits for it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("close", (code) => {
  process.exitCode = code ?? 1;
});
