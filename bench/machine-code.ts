/**
 * What GPUs' own compilers make of the kernels of MPN's programs, without a GPU: registers, spills, waves, and what the main loop
 * is made of. `node --import tsx bench/machine-code.ts`; nothing runs and nothing is timed. AMD's compiler needs Mesa's RADV (in the
 * package mesa-vulkan-drivers) and cc; NVIDIA's needs NVK and a library that Mesa's sources make (machine-code/compilers.ts).
 */
import { type Command, Option } from "commander";
import { cpuOnly, main, run, type Shell } from "#src/cli/shell.js";
import { markdownTable, percent } from "#src/text.js";
import { presetModel } from "#src/training/load-config.js";
import { compileAll } from "./machine-code/compile.js";
import { nvk, radv } from "./machine-code/compilers.js";
import type { Code } from "./machine-code/listing.js";
import {
  describeSpec,
  type ProgramCase,
  programName,
  type UsedKernel,
  usedKernels,
  VENDORS,
  type Vendor,
  vendorProfile,
} from "./machine-code/programs.js";

const CASES: readonly ProgramCase[] = (["float32", "float16"] as const).flatMap((precision) =>
  [false, true].flatMap((matrixUnits): ProgramCase[] => [
    { mode: "infer", batch: 1, precision, matrixUnits },
    { mode: "infer", batch: 32, precision, matrixUnits },
    { mode: "train", batch: 48, precision, matrixUnits },
  ]),
);

interface Options {
  filter: string;
  ladder: Vendor;
  family: string;
  shim?: string;
  chipset: string;
  programs: string;
  isa: boolean;
}

async function report(shell: Shell, { filter, ladder, family, shim, chipset, programs, isa }: Options) {
  const compiler = shim === undefined ? radv(family) : nvk(shim, chipset);
  const config = presetModel("paper", { model: "mpn", channelAttention: false, imageSize: [384, 128] });
  const cases = CASES.filter((one) => programName(one).includes(programs));
  const kernels = usedKernels(vendorProfile(ladder), config, cases);
  const chosen = [...kernels.values()].filter(({ spec }) => describeSpec(spec).includes(filter));
  const progress = shell.onProgress("compiling");
  const { adapter, compiled } = await compileAll(
    compiler,
    chosen.map(({ spec }) => spec),
    (done) => progress(done, chosen.length),
  );
  const found = compiled.map(({ code }, i) => ({ ...chosen[i], code }));
  shell.print(`${compiler.title} (${adapter}); the ladder of ${ladder}; static: nothing was run.\n`);
  const most = (use: UsedKernel, of: "flops" | "bytes") => Math.max(...use.uses.map((u) => u[of]));
  const rows = [...found]
    .sort((a, b) => most(b, "flops") - most(a, "flops") || most(b, "bytes") - most(a, "bytes"))
    .map((kernel) => [
      describeSpec(kernel.spec),
      percent(most(kernel, "flops")),
      percent(most(kernel, "bytes")),
      ...(typeof kernel.code === "string"
        ? [`does not compile: ${kernel.code}`, ...HEAD.slice(4).map(() => "")]
        : cells(kernel.code)),
    ]);
  for (const line of markdownTable([HEAD, ...rows])) shell.print(line);
  if (isa)
    for (const { spec, code } of found)
      if (typeof code !== "string") shell.print(`\n## ${describeSpec(spec)}\n\n${code.text}`);
  return {
    compiler: compiler.title,
    adapter,
    ladder,
    kernels: found.map(({ code, ...kernel }) => {
      if (typeof code === "string") return { ...kernel, failed: code };
      const { text, ...figures } = code;
      return { ...kernel, ...figures, ...(isa && { text }) };
    }),
  };
}

const HEAD = [
  "kernel",
  ...["most of FLOPs", "of bytes", "registers", "spilled", "LDS", "waves", "instructions", "cycles"],
  ...["loop", "FMA", "share", "LDS loads", "stores", "loads (wide)", "hidden by", "waits", "barriers", "around"],
];

function cells({
  registers,
  spilled,
  scratchBytes,
  workgroupBytes,
  waves,
  instructions,
  cycles,
  loop,
}: Code): string[] {
  const own = [
    registers,
    `${spilled}${scratchBytes > 0 ? ` (${scratchBytes} B)` : ""}`,
    workgroupBytes ?? "-",
    waves,
    instructions,
    cycles,
  ];
  const inner = loop
    ? [
        loop.instructions,
        loop.matrixProducts > 0 ? `${loop.matrixProducts} matrices` : loop.multiplyAdds,
        percent(loop.share),
        loop.workgroupLoads,
        loop.workgroupStores,
        `${loop.loads} (${loop.wideLoads})`,
        ...[loop.hiddenBy, loop.waits, loop.barriers, loop.around],
      ]
    : Array.from({ length: 10 }, () => "-");
  return [...own, ...inner].map(String);
}

function register(program: Command): void {
  cpuOnly(program.command("machine-code", { isDefault: true }))
    .description("compile the kernels of MPN's programs for a GPU that is not there, and read the machine code")
    .option("--filter <text>", "only kernels whose description contains this, such as conv_tiled", "")
    .option("--programs <text>", "only programs whose name contains this, such as `infer 32 float32`", "")
    .addOption(new Option("--ladder <vendor>", "whose tiles are taken").choices(VENDORS).default("amd"))
    .option("--family <name>", "AMD's device, as RADV_FORCE_FAMILY calls it", "navi31")
    .option("--shim <file>", "compile for NVIDIA, with this libnouveau_noop_drm_shim.so for a device")
    .option("--chipset <hex>", "NVIDIA's device", "172")
    .option("--isa", "print the machine code too", false)
    .action(run(report));
}

process.exitCode = await main(process.argv, [register]);
