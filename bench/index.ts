/** `npm run bench`: the whole report, section by section. */
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { better, measurePeak } from "#src/cli/bench/peak.js";
import { main, run, type Shell } from "#src/cli/shell.js";
import { UserError } from "#src/errors.js";
import { Device } from "#src/gpu/device.js";
import { type Context, type Flags, type SectionName, settingsOf, withFlags } from "./options.js";
import { render, type SectionReport } from "./report.js";
import { adapter as adapterSection } from "./sections/adapter.js";
import { convolutions } from "./sections/convolutions.js";
import { kernels } from "./sections/kernels.js";
import { memory } from "./sections/memory.js";
import { models } from "./sections/models.js";
import { small } from "./sections/small.js";
import { step } from "./sections/step.js";

const sections: Readonly<Record<SectionName, (context: Context) => Promise<SectionReport>>> = {
  adapter: adapterSection,
  models,
  step,
  convolutions,
  kernels,
  small,
  memory,
};

async function report(shell: Shell, flags: Flags): Promise<object> {
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const done: Record<string, object> = {};
  const lines: string[] = [];
  const started = performance.now();
  const { adapter, software, ...first } = await look();
  let { peak } = first;
  for (const [i, section] of flags.sections.entries()) {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    say(`[${i + 1}/${flags.sections.length}, ${seconds} s] ${section}`);
    // Whatever else the machine did may have stopped meanwhile.
    if (i > 0) peak = better(peak, (await look()).peak);
    const settings = settingsOf(flags, software);
    try {
      const found = await sections[section]({ ...settings, adapter, software, peak, say: (line) => say(`  ${line}`) });
      done[section] = found.data;
      const text = render(found, flags.markdown);
      lines.push(...text);
      if (flags.out === undefined) for (const line of text) shell.print(line);
    } catch (error) {
      if (error instanceof UserError && error.exitCode === 2) throw error;
      const { message } = error as Error;
      done[section] = { error: message };
      lines.push(`${section} failed: ${message}`, "");
      shell.warn(`${section} failed: ${message}`);
      process.exitCode = 1;
    }
    if (flags.out !== undefined)
      writeFileSync(flags.out, shell.json ? `${JSON.stringify(result())}\n` : `${lines.join("\n")}\n`);
  }
  return result();

  function result() {
    return { adapter, software, peakGflops: peak.gflops, copyGbps: peak.copyGbps, sections: done };
  }
}

async function look(): Promise<Pick<Context, "adapter" | "software" | "peak">> {
  const device = await Device.open();
  try {
    const { name, software } = device.profile;
    return { adapter: name, software, peak: await measurePeak(device) };
  } finally {
    device.close();
  }
}

function register(program: Command): void {
  withFlags(program.command("report", { isDefault: true }))
    .description("compare this engine with its peers, and each part of it with the adapter's limits")
    .action(run(report));
}

// Ends the children and removes what they read.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main(process.argv, [register]);
