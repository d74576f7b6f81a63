/** `npm run bench`: the whole report, section by section. */
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { better, measurePeak } from "#src/cli/bench/peak.js";
import { checkOutput } from "#src/cli/outputs.js";
import { main, run, type Shell } from "#src/cli/shell.js";
import { UserError } from "#src/errors.js";
import { Device } from "#src/gpu/device.js";
import { usableUnits } from "#src/ops/conv-matrix.js";
import { openTuned } from "#src/tuning/open.js";
import { type Context, type Flags, type SectionName, settingsOf, withFlags } from "./options.js";
import { render, type SectionReport } from "./report.js";
import { adapter as adapterSection } from "./sections/adapter.js";
import { convolutions } from "./sections/convolutions.js";
import { kernels } from "./sections/kernels.js";
import { memory } from "./sections/memory.js";
import { models } from "./sections/models.js";
import { small } from "./sections/small.js";
import { step } from "./sections/step.js";
import type { Ability } from "./systems.js";

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
  if (flags.out !== undefined) await checkOutput("--out", flags.out, "bench", []);
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const done: Record<string, object> = {};
  const lines: string[] = [];
  const add = (text: readonly string[]) => {
    lines.push(...text);
    if (flags.out === undefined) for (const line of text) shell.print(line);
  };
  add([flags.markdown ? "# mpn-webgpu bench" : "MPN-WEBGPU BENCH", ""]);
  const started = performance.now();
  const open = () => openTuned({ warn: shell.warn, note: () => {} });
  const { adapter, software, tuned, abilities, ...first } = await look(open);
  let { peak } = first;
  const wrong: string[] = [];
  for (const [i, section] of flags.sections.entries()) {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    say(`[${i + 1}/${flags.sections.length}, ${seconds} s] ${section}`);
    // Whatever else the machine did may have stopped meanwhile.
    if (i > 0) peak = better(peak, await peakOf(await open()));
    const settings = settingsOf(flags, software);
    try {
      const found = await sections[section]({
        ...settings,
        ...{ adapter, software, tuned, abilities, open, peak },
        say: (line) => say(`  ${line}`),
      });
      wrong.push(...(found.wrong ?? []));
      done[section] = found.data;
      add(render(found, flags.markdown));
    } catch (error) {
      if (error instanceof UserError && error.exitCode === 2) throw error;
      const { message } = error as Error;
      done[section] = { error: message };
      lines.push(`${section} failed: ${message}`, "");
      shell.warn(`${section} failed: ${message}`);
      process.exitCode = 1;
    }
    if (flags.out !== undefined)
      writeFileSync(flags.out, flags.out.endsWith(".json") ? `${JSON.stringify(result())}\n` : `${lines.join("\n")}\n`);
  }
  // Last, where nobody overlooks it.
  for (const line of wrong) shell.warn(line);
  if (wrong.length > 0) process.exitCode = 1;
  return result();

  function result() {
    return {
      bench: "mpn-webgpu",
      adapter,
      software,
      tuned,
      peakGflops: peak.gflops,
      copyGbps: peak.copyGbps,
      wrong,
      sections: done,
    };
  }
}

async function look(open: Context["open"]) {
  const device = await open();
  const { name: adapter, software, features, tuned = {} } = device.profile;
  const abilities: Ability[] = [];
  if (!software && features.includes("shader-f16")) abilities.push("float16");
  const peak = await peakOf(device);
  if (!software) {
    const units = await Device.open({ matrixUnits: true });
    if (abilities.length > 0 && usableUnits(units.profile)) abilities.push("matrix units");
    units.close();
  }
  return { adapter, software, tuned: Object.keys(tuned).length, abilities, peak };
}

/** Measures, and closes the device. */
const peakOf = (device: Device) => measurePeak(device).finally(() => device.close());

function register(program: Command): void {
  withFlags(program.command("report", { isDefault: true }))
    .description("compare this engine with its peers, and each part of it with the adapter's limits")
    .action(run(report));
}

// Ends the children and removes what they read.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main(process.argv, [register]);
