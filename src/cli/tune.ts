import { type Command, Option } from "commander";
import type { Device } from "../gpu/device.js";
import type { Precision } from "../graph/storage.js";
import type { PresetName } from "../training/config.js";
import type { TuningResult } from "../tuning/search.js";
import type { Mode } from "./bench/model.js";
import { matrixUnitsOption, storageOption } from "./network-options.js";
import { heightByWidth, run, type Shell, wholeNumber } from "./shell.js";

const MODELS = ["mpn", "mpn0", "ide", "pcb", "mgn", "pyramid", "dsa"] as const;

interface TuneOptions {
  model: (typeof MODELS)[number];
  preset: PresetName;
  size?: [number, number];
  batch?: number;
  mode?: Mode;
  filter?: string;
  rounds?: number;
  quick?: boolean;
  again?: boolean;
  precision: Precision;
  matrixUnits?: boolean;
}

/** `mpn tune`: the fastest kernel for each convolution of a model on this adapter, kept for the runs that follow. */
export function register(program: Command): void {
  program
    .command("tune")
    .description("find the fastest kernels for a model's convolutions on this adapter; all commands then use them")
    .addOption(new Option("--model <name>", "whose convolutions").choices(MODELS).default("mpn"))
    .addOption(new Option("--preset <name>", "whose backbone and size").choices(["paper", "small"]).default("paper"))
    .option("--size <HxW>", "height and width of the images (default: the preset's)", heightByWidth)
    .option("--batch <n>", "images of a batch (default: 4 on a software adapter, 32 on others)", wholeNumber(1))
    .addOption(new Option("--mode <mode>", "one of the two instead of both").choices(["infer", "train"]))
    .option("--filter <text>", "only problems whose name contains this, such as weightGrad")
    .option("--rounds <n>", "times that each candidate is timed (default: 3 in software, 10 on others)", wholeNumber(1))
    .option("--quick", "try one kernel of each kind, not the relatives of the best")
    .option("--again", "tune what is tuned already, too")
    .addOption(storageOption())
    .addOption(matrixUnitsOption())
    .action(run(tune));
}

async function tune(shell: Shell, options: TuneOptions) {
  const [
    { openDevice },
    { Device },
    { presetModel },
    { workload },
    { ParameterStore },
    cache,
    { tuningCases },
    { tuneCase },
    { describeChoice },
    { usableUnits },
  ] = await Promise.all([
    import("./common.js"),
    import("../gpu/device.js"),
    import("../training/load-config.js"),
    import("./bench/model.js"),
    import("../nn/parameters.js"),
    import("../tuning/cache.js"),
    import("../tuning/cases.js"),
    import("../tuning/search.js"),
    import("../ops/conv-candidates.js"),
    import("../ops/conv-matrix.js"),
  ]);
  const { preset, size, precision, matrixUnits } = options;
  const model =
    options.model === "mpn0" ? ({ model: "mpn", channelAttention: false } as const) : { model: options.model };
  const config = presetModel(preset, { ...model, ...(size && { imageSize: size }) });
  const device = await openDevice(shell, { matrixUnits });
  let stopped = false;
  const done = shell.onInterrupt(() => {
    stopped = true;
  });
  let checking: Device | null = null;
  try {
    checking = await Device.open({ matrixUnits, robust: true });
    const { software, name, description } = device.profile;
    const batch = options.batch ?? (software ? 4 : 32);
    const path = cache.tunedPath(device.profile);
    if (path === null) shell.warn("MPN_TUNED is off: what is found is printed and not kept");
    const both: readonly Mode[] = options.model === "dsa" ? ["infer"] : ["infer", "train"];
    const graphs = (options.mode ? [options.mode] : both).flatMap((mode) => {
      const { graph } = workload(new ParameterStore(), { config, mode, batch, precision });
      return [...Object.values(graph.outputs), ...("updates" in graph ? graph.updates : [])].filter(
        (t) => t !== undefined,
      );
    });
    const wanted = tuningCases(device, graphs, precision).filter(({ key }) => key.includes(options.filter ?? ""));
    const choices = { ...device.profile.tuned };
    const cases = options.again ? wanted : wanted.filter(({ key }) => !(key in choices));
    if (cases.length < wanted.length)
      shell.note(
        `${wanted.length - cases.length} of ${wanted.length} problems are tuned already (--again tunes them anew)`,
      );

    const results: TuningResult[] = [];
    const progress = shell.progress("tune", cases.length);
    for (const c of cases) {
      if (stopped) break;
      progress.update(results.length, c.key);
      const result = await tuneCase({ timing: device, checking }, c, {
        rounds: options.rounds ?? (software ? 3 : 10),
        ...(options.quick && { steps: 0 }),
        warn: shell.warn,
      });
      results.push(result);
      choices[c.key] = result.winner.choice;
      // What is tuned later may be made of it: Winograd's product comes before the convolution that it would replace.
      for (const each of [device, checking]) each.useTuned({ ...choices });
      // After each: whoever stops loses nothing.
      if (path !== null) await cache.writeTuned(path, device.profile, choices);
    }
    progress.update(results.length);
    progress.stop();
    await printResults(shell, results);
    if (path !== null && results.length > 0) shell.print(`\nkept in ${path}`);
    const problems = results.map(({ key, usual, winner, tried, refused }) => ({
      problem: key,
      default: describeChoice(usual.choice),
      winner: describeChoice(winner.choice),
      defaultMs: usual.ms,
      winnerMs: winner.ms,
      ratio: usual.ms / winner.ms,
      tried: tried.map(({ choice, ms }) => ({ choice: describeChoice(choice), ms })),
      refused: refused.map(({ choice, why }) => ({ choice: describeChoice(choice), why })),
    }));
    return {
      adapter: name,
      driver: description,
      software,
      matrixUnits: usableUnits(device.profile) ?? null,
      shaders: cache.shaderHash(),
      path,
      precision,
      batch,
      stopped,
      problems,
    };
  } finally {
    done();
    checking?.close();
    device.close();
  }
}

async function printResults(shell: Shell, results: readonly TuningResult[]): Promise<void> {
  if (results.length === 0) return shell.print("nothing was tuned");
  const [{ milliseconds }, { table }, { describeChoice, sameChoice }] = await Promise.all([
    import("./bench/timing.js"),
    import("../text.js"),
    import("../ops/conv-candidates.js"),
  ]);
  const rows = results.map(({ key, usual, winner, tried }) => [
    key,
    describeChoice(usual.choice),
    sameChoice(usual.choice, winner.choice) ? "the default" : describeChoice(winner.choice),
    milliseconds(usual.ms),
    milliseconds(winner.ms),
    (usual.ms / winner.ms).toFixed(2),
    String(tried.length),
  ]);
  for (const line of table([["problem", "default", "winner", "ms", "ms", "ratio", "tried"], ...rows], 3))
    shell.print(line);
}
