import type { Command } from "commander";
import { run } from "./shell.js";
export function register(program: Command): void {
  program.command("doctor").action(run(async () => ({})));
}
