import { type Command, InvalidArgumentError, Option } from "commander";
import { UserError } from "../errors.js";
import type { Precision } from "../graph/storage.js";
import type { ModelConfig } from "../models/config.js";
import { markdownTable, percent, table } from "../text.js";
import type { PresetName } from "../training/config.js";
import type { KernelCase, KernelFigures } from "./bench/kernels.js";
import type { Mode, ModelFigures } from "./bench/model.js";
import type { Peak } from "./bench/peak.js";
import { registerRerank } from "./bench/rerank.js";
import { mebibytes, milliseconds } from "./bench/timing.js";
import { matrixUnitsOption, storageOption } from "./network-options.js";
import { heightByWidth, run, type Shell, wholeNumber } from "./shell.js";

/** The models, MPN without channel attention among them. */
const MODELS = ["mpn", "mpn0", "ide", "pcb", "mgn", "pyramid", "dsa"] as const;

interface ModelChoice {
  model: (typeof MODELS)[number];
  preset: PresetName;
  size?: [number, number];
  runs?: number;
  matrixUnits?: boolean;
}

interface ModelOptions extends ModelChoice {
  mode?: Mode;
  batch?: number;
  profile?: boolean;
  precision: Precision;
}

interface Table8CommandOptions {
  models: string[];
  size: [number, number];
  batch?: number;
  width: number;
  layers: ModelConfig["layers"];
  runs?: number;
  matrixUnits?: boolean;
  markdown?: boolean;
}

interface KernelOptions extends ModelChoice {
  batch: number;
  filter?: string;
}

/** Batches that are measured where none is asked for. */
const BATCHES: Record<Mode, readonly number[]> = { infer: [1, 4], train: [4] };

/** `mpn bench`: how fast kernels, models and rankings are on this adapter, and what share of its peak that is. */
export function register(program: Command): void {
  const bench = program.command("bench").description("measure kernels and models: time, GFLOP/s, share of the peak");
  withModel(bench.command("model", { isDefault: true }))
    .description("time an inference and a whole training step, and compare GPU memory with the plan")
    .addOption(new Option("--mode <mode>", "one of the two instead of both").choices(["infer", "train"]))
    .option("--batch <n>", "images of a batch (default: 1 and 4 for infer, 4 for train)", wholeNumber(1))
    .option("--profile", "where the time goes, by shader")
    .addOption(storageOption())
    .action(run(benchModels));
  withModel(bench.command("kernels"))
    .description("time every distinct operation of a training step by itself")
    .option("--batch <n>", "images of a batch", wholeNumber(1), 4)
    .option("--filter <text>", "only operations whose name contains this, such as conv2d")
    .action(run(benchKernels));
  bench
    .command("table8")
    .description("Table 8 of the paper: size, work, time and memory of MPN without CA and its peers, measured in turns")
    .option("--models <names>", "those of pcb, mgn, pyramid, dsa and mpn0 that are measured", commaSeparated, [])
    .option("--size <HxW>", "height and width of the images", heightByWidth, [384, 128])
    .option("--batch <n>", "images of a batch (default: 4 on a software adapter, 16 on others)", wholeNumber(1))
    .option(
      "--width <n>",
      "channels of the stem; all others, those of the parts too, keep their proportion",
      wholeNumber(1),
      64,
    )
    .option("--layers <n,n,n,n>", "blocks of the backbone's stages", fourNumbers, [3, 4, 6, 3])
    .option("--runs <n>", "turns of every model (default: 3 on a software adapter, 10 on others)", wholeNumber(1))
    .addOption(matrixUnitsOption())
    .option("--markdown", "print the tables in Markdown")
    .action(run(benchTable8));
  registerRerank(bench);
}

function withModel(command: Command): Command {
  return command
    .addOption(
      new Option("--model <name>", "mpn with channel attention, mpn0 without, or a peer; dsa only infers")
        .choices(MODELS)
        .default("mpn0"),
    )
    .addOption(
      new Option("--preset <name>", "whose backbone and size are measured")
        .choices(["paper", "small"])
        .default("paper"),
    )
    .option("--size <HxW>", "height and width of the images (default: the preset's)", heightByWidth)
    .option("--runs <n>", "runs after the first (default: 3 on a software adapter, 20 on others)", wholeNumber(1))
    .addOption(matrixUnitsOption());
}

async function configOf({ model, preset, size }: ModelChoice): Promise<ModelConfig> {
  const { presetModel } = await import("../training/load-config.js");
  const settings = model === "mpn0" ? ({ model: "mpn", channelAttention: false } as const) : { model };
  return presetModel(preset, { ...settings, ...(size && { imageSize: size }) });
}

async function benchModels(shell: Shell, options: ModelOptions) {
  const [{ openTuned }, { Device }, { benchModel }, { better, measurePeak }, { usableUnits }] = await Promise.all([
    import("../tuning/open.js"),
    import("../gpu/device.js"),
    import("./bench/model.js"),
    import("./bench/peak.js"),
    import("../ops/conv-matrix.js"),
  ]);
  const config = await configOf(options);
  const device = await openTuned(shell, { matrixUnits: options.matrixUnits });
  const { name, software, tuned } = device.profile;
  const another = async () => {
    const next = await Device.open({ matrixUnits: options.matrixUnits });
    next.useTuned(tuned);
    return next;
  };
  try {
    const runs = options.runs ?? defaultRuns(software);
    let peak = await measurePeak(device);
    const modes: readonly Mode[] = options.mode
      ? [options.mode]
      : options.model === "dsa"
        ? ["infer"]
        : ["infer", "train"];
    const measured: { mode: Mode; batch: number; figures: ModelFigures }[] = [];
    for (const mode of modes) {
      for (const batch of options.batch ? [options.batch] : BATCHES[mode]) {
        shell.note(`${mode}, batch ${batch}: ${runs} runs and a first one`);
        const figures = await benchModel(
          await another(),
          { config, mode, batch, precision: options.precision },
          runs,
          options.profile ?? false,
        );
        measured.push({ mode, batch, figures });
      }
    }
    // Whatever else the machine did may have stopped meanwhile.
    peak = better(peak, await measurePeak(device));
    const cases = measured.map(({ mode, batch, figures: { flops, profile, ...figures } }) => {
      const gflops = flops / figures.medianMs / 1e6;
      return {
        model: options.model,
        preset: options.preset,
        mode,
        precision: options.precision,
        batch,
        size: config.imageSize,
        ...figures,
        msPerImage: figures.medianMs / batch,
        gflops,
        peakShare: gflops / peak.gflops,
        gflopPerImage: flops / batch / 1e9,
        ...(profile && { profile }),
      };
    });
    printPeak(shell, name, software, peak);
    shell.print(
      `${options.model} (${options.preset}), images of ${config.imageSize.join("x")}, ${options.precision}, ${runs} runs`,
    );
    const head = [
      ...["", "first ms", "upload ms", "median ms", "min", "max", "in a row", "ms/image"],
      ...["GFLOP/image", "GFLOP/s", "of peak"],
    ];
    const rows = cases.map((c) => [
      `${c.mode} batch ${c.batch}`,
      ...[c.firstMs, c.uploadMs, c.medianMs, c.minMs, c.maxMs, c.inRowMs, c.msPerImage].map(milliseconds),
      c.gflopPerImage.toFixed(2),
      c.gflops.toFixed(2),
      percent(c.peakShare),
    ]);
    for (const line of table([head, ...rows])) shell.print(line);
    shell.print();
    const memory = cases.map((c) => [
      `${c.mode} batch ${c.batch}`,
      ...[c.gpuBytes, c.plannedBytes, c.intermediateBytes, c.liveBytes].map(mebibytes),
      String(c.dispatches),
      String(c.pipelines),
    ]);
    const memoryHead = ["", "GPU memory", "planned", "slots", "live at worst", "dispatches", "pipelines"];
    for (const line of table([memoryHead, ...memory])) shell.print(line);
    for (const c of cases) if (c.profile) printProfile(shell, `${c.mode} batch ${c.batch}`, c.profile, peak);
    const { gflops: peakGflops, copyGbps } = peak;
    return { adapter: name, software, matrixUnits: usableUnits(device.profile) ?? null, peakGflops, copyGbps, cases };
  } finally {
    device.close();
  }
}

function printProfile(shell: Shell, title: string, rows: NonNullable<ModelFigures["profile"]>, peak: Peak): void {
  const total = rows.reduce((sum, row) => sum + row.ms, 0);
  shell.print(`\n${title}, ${milliseconds(total)} ms of dispatches by shader`);
  const lines = rows.map((row) => [
    row.shader,
    String(row.count),
    milliseconds(row.ms),
    percent(total > 0 ? row.ms / total : 0),
    ...rates(row, row.ms, peak),
  ]);
  for (const line of table([["", "dispatches", "ms", "of time", ...RATES], ...lines])) shell.print(line);
}

const RATES = ["GFLOP/s", "of peak", "GB/s"];

/** What a time means for the work counted; a dash where nothing was counted. */
function rates({ flops, bytes }: { flops: number; bytes: number }, ms: number, peak: Peak): string[] {
  const gflops = flops / ms / 1e6;
  const counted = flops > 0 && ms > 0;
  return [
    counted ? gflops.toFixed(2) : "-",
    counted ? percent(gflops / peak.gflops) : "-",
    bytes > 0 && ms > 0 ? (bytes / ms / 1e6).toFixed(2) : "-",
  ];
}

async function benchKernels(shell: Shell, options: KernelOptions) {
  const [{ openTuned }, { benchKernel, kernelCases }, { measurePeak }, { hasTimestamps }] = await Promise.all([
    import("../tuning/open.js"),
    import("./bench/kernels.js"),
    import("./bench/peak.js"),
    import("./bench/timing.js"),
  ]);
  const config = await configOf(options);
  const device = await openTuned(shell, { matrixUnits: options.matrixUnits });
  const { name, software } = device.profile;
  try {
    const runs = options.runs ?? defaultRuns(software);
    const peak = await measurePeak(device);
    printPeak(shell, name, software, peak);
    const timestamps = hasTimestamps(device);
    if (!timestamps) shell.warn("the adapter has no timestamps: times are the clock's, submission included");
    const chosen = kernelCases(device, config, options.batch).filter((k) => k.op.includes(options.filter ?? ""));
    const progress = shell.progress("kernels", chosen.length);
    const measured: (KernelCase & { figures: KernelFigures })[] = [];
    for (const [i, kernel] of chosen.entries()) {
      const figures = await benchKernel(device, kernel, runs);
      if (figures) measured.push({ ...kernel, figures });
      progress.update(i + 1, kernel.op);
    }
    progress.stop();
    measured.sort((a, b) => a.op.localeCompare(b.op) || b.count * b.figures.medianMs - a.count * a.figures.medianMs);
    const lines = measured.map(({ op, shapes, count, figures }) => [
      op,
      shapes,
      String(count),
      milliseconds(figures.medianMs),
      milliseconds(count * figures.medianMs),
      ...rates(figures, figures.medianMs, peak),
    ]);
    shell.print(`${options.model} (${options.preset}), ${options.batch} images of ${config.imageSize.join("x")}`);
    for (const line of table([["", "shapes", "times", "median ms", "in all ms", ...RATES], ...lines], 2))
      shell.print(line);
    const kernels = measured.map(({ op, shapes, count, figures: { flops, bytes, ...times } }) => ({
      op,
      shapes,
      count,
      ...times,
      gflops: flops / times.medianMs / 1e6,
      peakShare: flops / times.medianMs / 1e6 / peak.gflops,
      gbps: bytes / times.medianMs / 1e6,
    }));
    const { gflops: peakGflops, copyGbps } = peak;
    return { adapter: name, software, timestamps, peakGflops, copyGbps, kernels };
  } finally {
    device.close();
  }
}

async function benchTable8(shell: Shell, options: Table8CommandOptions) {
  const [{ openTuned }, { measureTable8, TABLE8, turnsOf }, { COUNTED_NOTE, table8Rows, table8Text }] =
    await Promise.all([import("../tuning/open.js"), import("./bench/table8.js"), import("./bench/table8-rows.js")]);
  const unknown = options.models.filter((name) => !TABLE8.some(({ model }) => model === name));
  if (unknown.length > 0) {
    const names = TABLE8.map(({ model }) => model).join(", ");
    throw new UserError(`--models: Table 8 has no ${unknown.join(", ")}; it has ${names}.`, { exitCode: 2 });
  }
  const entries = TABLE8.filter(({ model }) => options.models.length === 0 || options.models.includes(model));
  const { size, width, layers } = options;
  const device = await openTuned(shell, { matrixUnits: options.matrixUnits });
  const { name, software } = device.profile;
  try {
    const { batch = software ? 4 : 16, runs: rounds = software ? 3 : 10 } = options;
    const progress = shell.progress("table 8", turnsOf(entries, rounds));
    const measured = await measureTable8(device, entries, {
      settings: { imageSize: size, width, layers },
      batch,
      rounds,
      runs: software ? 1 : 5,
      onTurn: progress.update,
    });
    progress.stop();
    const rows = table8Rows(measured, batch);
    warnOfSoftware(shell, name, software);
    const backbone = `backbone of ${layers.join(", ")} blocks, stem of ${width} channels`;
    shell.print(
      `${name}: batches of ${batch} images of ${size.join("x")}, ${backbone}; median (least to most) of the turns`,
    );
    for (const lines of table8Text(rows)) {
      shell.print();
      for (const line of (options.markdown ? markdownTable : table)(lines)) shell.print(line);
    }
    shell.print();
    shell.print(COUNTED_NOTE);
    for (const { title, untrained } of rows) if (untrained) shell.print(`${title} is not trained here: ${untrained}.`);
    return { adapter: name, software, batch, size, width, layers, rounds, rows };
  } finally {
    device.close();
  }
}

function printPeak(shell: Shell, adapter: string, software: boolean, peak: Peak): void {
  warnOfSoftware(shell, adapter, software);
  shell.print(
    `${adapter}: peak ${peak.gflops.toFixed(1)} GFLOP/s of multiply-adds, copy ${peak.copyGbps.toFixed(1)} GB/s`,
  );
}

function warnOfSoftware(shell: Shell, adapter: string, software: boolean): void {
  if (software)
    shell.warn(`${adapter} is a software adapter: the CPU does the work, and these are not a GPU's figures`);
}

/** Enough for a median; a training step of ResNet-50 takes some ten seconds in software. */
const defaultRuns = (software: boolean) => (software ? 3 : 20);

const commaSeparated = (text: string) => text.split(",").map((name) => name.trim());

function fourNumbers(text: string): ModelConfig["layers"] {
  if (!/^[1-9]\d*(,[1-9]\d*){3}$/.test(text)) throw new InvalidArgumentError("Expected four numbers, such as 3,4,6,3.");
  return text.split(",").map(Number) as ModelConfig["layers"];
}
