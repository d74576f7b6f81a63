import { type Command, Option } from "commander";
import { UserError } from "../errors.js";
import type { SafetensorsFile } from "../formats/safetensors.js";
import type { Device } from "../gpu/device.js";
import { PRECISIONS, type Precision } from "../graph/storage.js";
import { matrixUnitsOption } from "./network-options.js";
import { run, type Shell } from "./shell.js";

interface VerifyOptions {
  precision: Precision;
  matrixUnits?: boolean;
}

interface FixtureResult {
  file: string;
  kind: string;
  pass: boolean;
  /** Relative error of each group; for exact kinds the share of wrong values. */
  errors: Record<string, number>;
  /** Why it could not be checked. */
  error?: string;
  /** What the failure may be, where its errors are those of a fault or of a border. */
  note?: string;
}

/** Largest errors of the forward pass and of what flows backwards that one value on the wrong side explains. */
const BORDER = { forward: 1e-5, backward: 0.1 };

/**
 * Rounding can put a value that lies next to a ReLU's zero, a maximum's tie or a hinge on its other side. That shows in what flows
 * backwards only; so does a wrong gradient.
 * @returns what to do to tell the two apart; undefined where the errors are of another kind
 */
function borderNote(errors: Readonly<Record<string, number>>): string | undefined {
  const backward = new Set(["gradients", "update"]);
  const border = Object.entries(errors).every(([group, error]) =>
    backward.has(group) ? error <= BORDER.backward : error <= BORDER.forward,
  );
  if (!border || errors.gradients === undefined) return undefined;
  return (
    "The forward pass agrees and only what flows backwards does not: a gradient is wrong, or one value lies so near a " +
    "ReLU's zero or a maximum's tie that rounding decides its side. Draw the case with other seeds: a wrong gradient fails again."
  );
}

/** `mpn verify`: fixtures against this adapter. */
export function register(program: Command): void {
  program
    .command("verify")
    .description("check this adapter against fixtures: relative error of every group, exit code 1 beyond the bounds")
    .argument("<fixtures...>", "safetensors files of kind mpn, prior or metrics")
    .addOption(
      new Option("--precision <name>", "how maps are stored; float16 has bounds of its own")
        .choices(PRECISIONS)
        .default("float32"),
    )
    .addOption(matrixUnitsOption())
    .action(
      run(async (shell, files: string[], { precision, matrixUnits }: VerifyOptions) => {
        const { readSafetensors } = await import("../formats/safetensors.js");
        const { openTuned } = await import("./common.js");
        const read = await Promise.all(files.map(async (file) => ({ file, content: await readSafetensors(file) })));
        // Fixtures decide whether a kernel is right, so they run with the driver's index clamps.
        const device = await openTuned(shell, { robust: true, matrixUnits });
        try {
          const fixtures: FixtureResult[] = [];
          for (const { file, content } of read) {
            try {
              fixtures.push(await check(shell, device, file, content, precision));
            } catch (error) {
              // One fixture that cannot be run says so and fails; the others are still checked.
              if (!(error instanceof UserError)) throw error;
              shell.print(`FAIL  ${file}  ${error.message}`);
              fixtures.push({ file, kind: content.metadata.kind ?? "", pass: false, errors: {}, error: error.message });
            }
          }
          const failed = fixtures.filter((f) => !f.pass).length;
          shell.print(
            `${fixtures.length - failed} of ${fixtures.length} fixtures pass on ${device.profile.name}${precision === "float16" ? ", maps in float16" : ""}`,
          );
          if (failed > 0) process.exitCode = 1;
          return { precision, fixtures };
        } finally {
          device.close();
        }
      }),
    );
}

async function check(
  shell: Shell,
  device: Device,
  file: string,
  content: SafetensorsFile,
  precision: Precision,
): Promise<FixtureResult> {
  const kind = content.metadata.kind ?? "";
  const { errors, bounds } = await errorsOf(device, file, kind, content, precision);
  const pass = Object.entries(errors).every(([group, error]) => error <= bounds(group));
  const listed = Object.entries(errors).map(
    ([group, error]) => `${group} ${error.toExponential(1)}${error > bounds(group) ? " (!)" : ""}`,
  );
  shell.print(`${pass ? "pass" : "FAIL"}  ${file}  ${listed.join("  ")}`);
  const note = pass || precision === "float16" ? undefined : borderNote(errors);
  if (note) shell.print(`      ${note}`);
  return { file, kind, pass, errors, ...(note && { note }) };
}

async function errorsOf(device: Device, file: string, kind: string, content: SafetensorsFile, precision: Precision) {
  if (kind === "mpn") {
    const { HALF_BOUNDS, MODEL_BOUNDS, verifyModel } = await import("../training/verify-model.js");
    const halves = precision === "float16" || device.profile.matrixUnits?.components === "f16";
    const bounds = halves ? HALF_BOUNDS : MODEL_BOUNDS;
    return { errors: await verifyModel(device, content, file, precision), bounds: (group: string) => bounds[group] };
  }
  const { verifyMetrics, verifyPrior } = await import("./verify-exact.js");
  if (kind === "prior") return { errors: verifyPrior(content, file), bounds: () => 0 };
  if (kind === "metrics")
    return { errors: await verifyMetrics(content, file), bounds: (group: string) => (group === "counts" ? 0 : 1e-5) };
  throw new UserError(
    `${file} is no fixture: its metadata says kind ${JSON.stringify(kind)}; expected mpn, prior or metrics.`,
  );
}
